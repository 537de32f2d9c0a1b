# syntax=docker/dockerfile:1
# Two stages: what builds the package stays out of the image, and so does whatever only tests need. The tag names an exact version;
# SECURITY.md says how it is pinned by its digest.
FROM python:3.11.14-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY requirements/build.lock requirements/production.lock requirements/
RUN python -m venv /tools && /tools/bin/python -m pip install --no-deps --require-hashes -r requirements/build.lock \
 && python -m venv /venv && /venv/bin/python -m pip install --no-deps --require-hashes -r requirements/production.lock
COPY . .
RUN /tools/bin/python -m hatchling build -t wheel -d /dist \
 && /venv/bin/python -m pip install --no-deps /dist/*.whl \
 && /venv/bin/python -m pip uninstall --yes pip

FROM python:3.11.14-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /var/lib/onefold --create-home onefold
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 ONEFOLD_MODE=server ONEFOLD_DATA_DIR=/var/lib/onefold \
    ONEFOLD_COLLECTOR_HOST=0.0.0.0 ONEFOLD_API_HOST=0.0.0.0 ONEFOLD_METRICS_HOST=0.0.0.0 ONEFOLD_METRICS_PORT=9100
USER onefold
WORKDIR /var/lib/onefold
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:9100/ready', timeout=2)"]
CMD ["onefold", "--help"]
