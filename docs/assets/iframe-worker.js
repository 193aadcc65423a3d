// The theme's search runs in a Worker. There, a word that begins with a dash means "without it", and two dashes are an
// error; here, they begin an option's name.
const plain = message =>
  typeof message.data === "string"
    ? {...message, data: message.data.replace(/(?<=^|\s)[-+]+|[-+]+(?=[\s*]|$)/g, "")}
    : message;

if (location.protocol === "file:") {
  // A browser refuses a Worker for file:, so its script runs in a hidden frame. The theme asks for an IFrameWorker, and
  // the plugin `offline` would fetch one from a CDN.
  window.IFrameWorker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      this.inside = frame.contentWindow;
      this.inside.postMessage = data => this.dispatchEvent(new MessageEvent("message", {data}));
      const script = frame.contentDocument.createElement("script");
      script.src = url;
      this.ready = new Promise(loaded => { script.onload = loaded; });
      frame.contentDocument.body.append(script);
    }
    postMessage(message) {
      this.ready.then(() => this.inside.dispatchEvent(new MessageEvent("message", {data: plain(message)})));
    }
  };
  window.Worker = window.IFrameWorker;
} else {
  window.Worker = class extends Worker {
    postMessage(message) { super.postMessage(plain(message)); }
  };
}
