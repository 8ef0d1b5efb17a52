# A static binary on an empty file system, run without privileges.
# GO_IMAGE is any image with the Go toolchain of go.mod and a shell.
ARG GO_IMAGE=docker.io/library/golang:1.26
FROM ${GO_IMAGE} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=unknown
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /kproxy ./cmd/kproxy

FROM scratch
# Roots for brokers behind TLS come from the build image.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /kproxy /kproxy
USER 65534:65534
ENTRYPOINT ["/kproxy"]
CMD ["serve", "--config", "/etc/kproxy/kproxy.yaml"]
# There is no HEALTHCHECK: a kproxy without an admin server would be unhealthy. With
# admin.bind set, add this one (docs/readiness.md):
#   HEALTHCHECK --interval=10s --start-period=30s CMD ["/kproxy", "health"]
