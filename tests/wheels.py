"""An index of packages for uv that lies in a folder: coral 1.0 and 2.0, and reef, which is there as source only."""

import base64
import hashlib
import zipfile


def wheel(folder, name, version, text):
    """A wheel of one module, as simple as they come."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": text,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    hashes = {
        path: base64.urlsafe_b64encode(hashlib.sha256(data.encode()).digest()).rstrip(b"=").decode()
        for path, data in files.items()
    }
    record = "".join(f"{path},sha256={hashes[path]},{len(data)}\n" for path, data in files.items())
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, data in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(path, data)


def set_up(folder, monkeypatch):
    """Let uv know this index and no other, and keep its cache apart."""
    wheels = folder / "wheels"
    wheels.mkdir()
    for version, factor in (("1.0", 10), ("2.0", 20)):
        wheel(wheels, "coral", version, f"FACTOR = {factor}\n")
    (wheels / "reef-1.0.tar.gz").write_bytes(b"whatever")
    (folder / "uv.toml").write_text(f'no-index = true\nfind-links = ["{wheels}"]\n')
    monkeypatch.setenv("UV_CONFIG_FILE", str(folder / "uv.toml"))
    monkeypatch.setenv("UV_CACHE_DIR", str(folder / "cache"))
