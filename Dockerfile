# The pipeline in a container: docker build -t transformer-spectrum . && docker run -v "$PWD/data:/app/data" transformer-spectrum
FROM python:3.11-slim-bookworm

RUN apt-get update \
 && apt-get install --yes --no-install-recommends git make \
 && rm -rf /var/lib/apt/lists/*

RUN useradd --create-home --uid 1000 researcher
WORKDIR /app
RUN chown researcher /app
USER researcher
ENV PATH=/app/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1

# Packages first, so that a change of the code does not install them again.
COPY --chown=researcher Makefile pyproject.toml README.md LICENSE requirements.lock ./
COPY --chown=researcher src src
RUN make setup
COPY --chown=researcher . .

CMD ["dvc", "repro"]
