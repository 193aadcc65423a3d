# The command line in an image, and the pipeline in another:
#
#   docker build --tag transformer-spectrum .
#   docker run --rm transformer-spectrum --help
#   docker build --target pipeline --tag transformer-spectrum:pipeline .
#
# On NVIDIA GPUs: --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 (and `docker run --gpus all`).
# `make image-check` runs the steps below without Docker.

FROM python:3.11.14-slim-bookworm@sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d AS base
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1

# Everything that is installed, in one folder that the other stages take over.
FROM base AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /build
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
# setuptools is pinned here, because an isolated build would fetch the newest one; then torch, alone: it is large, seldom
# changes, and comes from an index of its own.
COPY requirements.lock ./
RUN pip install --no-cache-dir --constraint requirements.lock setuptools \
 && pip install --no-cache-dir --constraint requirements.lock --no-deps ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch
COPY pyproject.toml params.yaml README.md LICENSE ./
COPY config config
COPY studies studies
COPY src src
RUN pip install --no-cache-dir --constraint requirements.lock --no-build-isolation .

# What both images share: a user without rights, and the two folders that are meant to be mounted. The command line
# writes nowhere else in /app.
FROM base AS runtime
RUN useradd --create-home --uid 1000 researcher \
 && install --directory --owner=1000 --group=1000 /app/data /app/runs
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /app

# The pipeline: `docker run -v "$PWD/data:/app/data" transformer-spectrum:pipeline` is `dvc repro`.
FROM runtime AS pipeline
# Debian's security updates are wanted, so git has no version.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends git \
 && rm -rf /var/lib/apt/lists/*
COPY --chown=1000:1000 . .
RUN chown 1000:1000 /app
USER 1000:1000
# DVC and DVCLive want a repository with a commit; the real one stays outside.
RUN git init --quiet \
 && git add --all \
 && git -c user.name=image -c user.email=image@localhost commit --quiet --message=image
VOLUME ["/app/data", "/app/runs"]
ENTRYPOINT ["dvc"]
CMD ["repro"]

# The command line; the last stage is what `docker build` makes without --target.
FROM runtime AS cli
COPY params.yaml ./
COPY config config
COPY studies studies
USER 1000:1000
VOLUME ["/app/data", "/app/runs"]
ENTRYPOINT ["transformer-spectrum"]
CMD ["--help"]
