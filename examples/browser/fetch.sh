#!/bin/sh
# Fetch the parts of onnxruntime-web 1.22.0 that the page needs into vendor/; needs npm.
set -eu
cd "$(dirname "$0")"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
npm pack --silent --pack-destination "$folder" onnxruntime-web@1.22.0 >&2
tar -xzf "$folder"/onnxruntime-web-1.22.0.tgz -C "$folder"
for name in ort.wasm.min.mjs ort-wasm-simd-threaded.mjs ort-wasm-simd-threaded.wasm; do
    cp "$folder/package/dist/$name" vendor/
done
cd vendor && sha256sum --check --quiet SHA256SUMS
