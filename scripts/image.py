#!/usr/bin/env python3
"""Writes a container image as an OCI archive: no daemon, no registry, no root; the same input gives the same bytes.

  image.py OUT.tar NAME:TAG --layer DIR [--layer DIR ...] [--arch amd64|arm64] [--entrypoint PROGRAM] [--user U] [--label K=V ...] [--created TIME]

Every DIR is the root of one layer, the first one lowest. Files belong to root, are 0755 if executable and 0644 if not.
"""

import argparse
import hashlib
import io
import json
import os
import platform
import tarfile

OCI = "application/vnd.oci.image."


def layer(root):
    """The tree as a tar. Parents come first, names are sorted, and nothing of this machine gets in: no times, owners or umask."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for folder, folders, files in os.walk(root):
            folders.sort()
            for name in sorted(folders + files):
                path = os.path.join(folder, name)
                info = tar.gettarinfo(path, arcname=os.path.relpath(path, root))
                info.uid = info.gid = info.mtime = 0
                info.uname = info.gname = ""
                if info.isdir():
                    info.mode = 0o1777 if info.name == "tmp" else 0o755
                    tar.addfile(info)
                elif info.isfile():
                    info.mode = 0o755 if info.mode & 0o100 else 0o644
                    with open(path, "rb") as file:
                        tar.addfile(info, file)
                else:
                    tar.addfile(info)
    return out.getvalue()


class Blobs(dict):
    """digest -> bytes"""

    def put(self, media_type, data, **more):
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        self[digest] = data
        return {"mediaType": OCI + media_type, "digest": digest, "size": len(data), **more}

    def put_json(self, media_type, value, **more):
        return self.put(media_type, json.dumps(value, sort_keys=True).encode(), **more)


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("out")
    args.add_argument("name", help="with its tag")
    args.add_argument("--layer", action="append", required=True)
    args.add_argument("--arch", help="what its programs run on; this machine's unless told")
    args.add_argument("--entrypoint")
    args.add_argument("--user", default="")
    args.add_argument("--label", action="append", default=[])
    args.add_argument("--created", default="1970-01-01T00:00:00Z")
    args = args.parse_args()
    if ":" not in args.name.rsplit("/", 1)[-1]:
        raise SystemExit(f"image.py: {args.name} has no tag; say for example {args.name}:1")

    machine = platform.machine()
    runs_on = {"os": "linux", "architecture": args.arch or {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)}
    blobs = Blobs()
    layers = [blobs.put("layer.v1.tar", layer(root)) for root in args.layer]
    config = {
        "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
        "WorkingDir": "/",
        "User": args.user,
        "Labels": dict(label.split("=", 1) for label in args.label),
    }
    if args.entrypoint:
        config["Entrypoint"] = [args.entrypoint]
    image = blobs.put_json("config.v1+json", {
        **runs_on,
        "created": args.created,
        "config": config,
        # The layers are not compressed: their digests are those of the tars themselves.
        "rootfs": {"type": "layers", "diff_ids": [one["digest"] for one in layers]},
    })
    manifest = blobs.put_json(
        "manifest.v1+json",
        {"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json", "config": image, "layers": layers},
        platform=runs_on,
        # containerd takes the name from the first, skopeo and podman from the second.
        annotations={
            "io.containerd.image.name": args.name,
            "org.opencontainers.image.ref.name": args.name.rsplit(":", 1)[1],
        },
    )
    index = {"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": [manifest]}

    partial = f"{args.out}.{os.getpid()}"
    with tarfile.open(partial, "w", format=tarfile.PAX_FORMAT) as tar:

        def add(name, data):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o644
            tar.addfile(info, io.BytesIO(data))

        add("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        add("index.json", json.dumps(index, sort_keys=True).encode())
        for digest in sorted(blobs):
            add("blobs/" + digest.replace(":", "/"), blobs[digest])
    os.replace(partial, args.out)
    print(args.name, manifest["digest"])


main()
