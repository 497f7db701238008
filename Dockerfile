# One recipe for every image: --build-arg COMMAND=operator|gateway|media|chat
ARG GO_VERSION=1.26
FROM --platform=$BUILDPLATFORM golang:${GO_VERSION} AS build
ARG COMMAND TARGETOS TARGETARCH VERSION=""
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN test -d "cmd/${COMMAND:?say which with --build-arg COMMAND=operator, gateway, media or chat}"
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -ldflags "-s -w -X voiceroom.dev/voiceroom/cmd/internal/release.version=${VERSION}" -o /voiceroom "./cmd/${COMMAND}"

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /voiceroom /voiceroom
USER 65532:65532
ENTRYPOINT ["/voiceroom"]
