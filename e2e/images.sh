#!/usr/bin/env bash
# Makes every image as an archive, without Docker: for clusters that have a Docker, each part has a Dockerfile as well.
# Reads BIN, RUST (folders of built programs), IMAGES (where the archives go), REGISTRY, TAG and PUSH from the environment.
set -euo pipefail
cd "$(dirname "$0")"
mkdir -p "$IMAGES"

image() { # NAME ARGUMENTS OF `shoalcluster image`...
    local name=$1
    shift
    "$BIN/shoalcluster" image --out "$IMAGES/$name.tar" --name "$REGISTRY/$name:$TAG" "$@"
    if [ -n "$PUSH" ]; then
        command -v skopeo >/dev/null || { echo "PUSH=1 needs skopeo: apt-get install skopeo" >&2; exit 1; }
        skopeo copy "docker-archive:$IMAGES/$name.tar" "docker://$REGISTRY/$name:$TAG"
    fi
}

python=$(readlink -f /usr/bin/python3)
node=$(readlink -f "$(command -v node)")

image operator --with-libs --user 65532 --entrypoint '["/shoalwatch-operator"]' "$RUST/shoalwatch-operator:/shoalwatch-operator"
image node-worker --with-libs --entrypoint '["/shoalwatch-node-worker"]' "$RUST/shoalwatch-node-worker:/shoalwatch-node-worker"
image otelcol --entrypoint '["/otelcol"]' "$BIN/otelcol:/otelcol"
image load --entrypoint '["/load"]' "$BIN/load:/load"
image checkout --entrypoint '["/checkout"]' "$BIN/checkout:/checkout"
image catalog --with-libs --entrypoint '["/usr/bin/python3", "/catalog.py"]' --env PYTHONDONTWRITEBYTECODE=1 \
    --tree "/usr/lib/$(basename "$python"):/usr/lib/$(basename "$python")" "$python:/usr/bin/python3" apps/catalog.py:/catalog.py
image reviews --with-libs --entrypoint '["/usr/bin/node", "/reviews.js"]' "$node:/usr/bin/node" apps/reviews.js:/reviews.js
image web --with-libs --entrypoint '["/usr/sbin/nginx", "-c", "/web.conf"]' \
    /usr/sbin/nginx:/usr/sbin/nginx /etc/passwd:/etc/passwd /etc/group:/etc/group apps/web.conf:/web.conf
