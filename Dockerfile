# syntax=docker/dockerfile:1
# The steps are those of deploy/docker-steps.sh, which runs them without an engine.
ARG PYTHON=3.13
FROM python:${PYTHON}-slim-bookworm AS build
WORKDIR /src
# Dependencies first: a change of our code does not fetch them again.
COPY deploy/venv.py deploy/venv.py
COPY requirements.lock ./
RUN python deploy/venv.py /opt/synapscale requirements.lock
COPY pyproject.toml README.md ./
COPY migrations migrations
COPY pricing pricing
COPY proxy proxy
RUN python deploy/venv.py /opt/synapscale requirements.lock --project .

FROM python:${PYTHON}-slim-bookworm
# A number and not only a name: Kubernetes' runAsNonRoot looks at nothing else.
RUN groupadd --gid 10001 synapscale \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/synapscale synapscale \
 && install -d -m 0700 -o 10001 -g 10001 /var/lib/synapscale
COPY --from=build /opt/synapscale /opt/synapscale
COPY deploy/healthcheck.py /opt/synapscale/healthcheck.py
COPY config.yaml /etc/synapscale/config.yaml
ENV PATH=/opt/synapscale/bin:$PATH PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /var/lib/synapscale
VOLUME /var/lib/synapscale
EXPOSE 4000
# First start: schema and catalog. Restarts are the engine's business; it only has to know.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "/opt/synapscale/healthcheck.py"]
# The container's network ends at whatever publishes the port: TLS belongs there, or to --tls-cert-file.
ENTRYPOINT ["synapscale"]
CMD ["serve", "--host", "0.0.0.0", "--port", "4000", "--behind-proxy", "--data-dir", "/var/lib/synapscale", "--config", "/etc/synapscale/config.yaml"]
