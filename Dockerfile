# A static binary on an empty file system, run without privileges. It is compiled on the building
# machine, for each platform that is asked for:
#
#   docker buildx build --platform linux/amd64,linux/arm64 .
#
# GO_IMAGE is any image with the Go toolchain of go.mod and a shell.
ARG GO_IMAGE=docker.io/library/golang:1.26
FROM --platform=${BUILDPLATFORM} ${GO_IMAGE} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=unknown
ARG TARGETOS
ARG TARGETARCH
RUN CGO_ENABLED=0 GOOS=${TARGETOS} GOARCH=${TARGETARCH} go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /kproxy ./cmd/kproxy

FROM scratch
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="kproxy" \
      org.opencontainers.image.description="A layer-7 proxy for Kafka" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# Roots for brokers behind TLS come from the build image.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /kproxy /kproxy
# kubectl exec and docker exec find kproxy by its name. A via of the form exec: may need programs that are mounted.
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/
USER 65534:65534
ENTRYPOINT ["/kproxy"]
CMD ["serve", "--config", "/etc/kproxy/kproxy.yaml"]
# health asks the admin server at 127.0.0.1:9400. A kproxy without admin.bind is unhealthy: set it,
# or run the container with --no-healthcheck (docs/readiness.md).
HEALTHCHECK --interval=10s --start-period=30s CMD ["/kproxy", "health"]
