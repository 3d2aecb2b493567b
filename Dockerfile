# The server as an image: one static binary, nothing else, no root.
#
#   docker build -t throttle .
#   docker run --rm -v ${PWD}:/cfg -p 8000:8000 throttle -c cfg/throttle.toml
#
# With a store, path = "/var/lib/throttle/throttle.redb", and a volume that outlives the container:
#
#   docker run --rm -v ${PWD}:/cfg -v throttle:/var/lib/throttle -p 8000:8000 throttle -c cfg/throttle.toml
#
# A directory of the host in place of the volume must belong to the user 65532.

# On Alpine Rust links statically, so what is built here needs no files beside it.
FROM rust:1.95.0-alpine AS build
# hadolint ignore=DL3018
RUN apk add --no-cache musl-dev
WORKDIR /throttle
COPY . .
RUN cargo build --release --locked --package throttle-server --bin throttle
# The directory of the store. A new volume takes over its owner.
RUN mkdir -p /state/var/lib/throttle && chown 65532:65532 /state/var/lib/throttle

FROM scratch
COPY --from=build /throttle/target/release/throttle /usr/bin/throttle
COPY --from=build --chown=65532:65532 /state/var/lib/throttle /var/lib/throttle
VOLUME /var/lib/throttle
# Nobody in particular. By number, for there is no list of users in here.
USER 65532:65532
# From outside of the container, which is where its clients are.
ENV THROTTLE_ADDRESS=0.0.0.0
EXPOSE 8000
# Finds the address and the port by itself, be they set by variables or by flags of the command.
HEALTHCHECK --interval=10s --timeout=3s CMD ["/usr/bin/throttle", "--check-health"]
ENTRYPOINT ["/usr/bin/throttle"]
