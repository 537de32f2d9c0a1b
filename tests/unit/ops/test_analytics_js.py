import base64
import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from embedded import analytics_js
from embedded.analytics_js import find_installed, install
from runtime.errors import Misconfigured

FILES = {
    "package/dist/umd/standalone.js": b"window.analytics = 1",
    "package/dist/umd/queryString.bundle.1f2e.js": b"part",
    "package/LICENSE": b"MIT",
    "package/dist/umd/index.js.map": b"map",
    "package/dist/umd/../../../evil.js": b"evil",
    "package/package.json": b"{}",
}


def tarball(at: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(at, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("package/dist/umd/link.js")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return at


def trust(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    monkeypatch.setattr(analytics_js, "SHA512", base64.b64encode(hashlib.sha512(file.read_bytes()).digest()).decode())


def test_only_served_files_are_fetched_and_only_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, target = tarball(tmp_path / "a.tgz", FILES), analytics_js.directory({"XDG_CACHE_HOME": str(tmp_path)})
    trust(monkeypatch, file)
    assert find_installed({"XDG_CACHE_HOME": str(tmp_path)}) is None
    assert install(target, lambda _: file)
    assert sorted(path.name for path in target.iterdir()) == ["LICENSE", "queryString.bundle.1f2e.js", "standalone.js"]
    assert find_installed({"XDG_CACHE_HOME": str(tmp_path)}) == target
    assert not install(target, lambda _: tmp_path / "not asked for")
    assert sorted(path.name for path in target.parent.iterdir()) == [target.name]


def test_another_hash_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    file = tarball(tmp_path / "a.tgz", FILES)
    with pytest.raises(Misconfigured, match="sha512"):
        install(tmp_path / "cache" / "js", lambda _: file)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_package_without_the_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tarball(tmp_path / "a.tgz", {"package/package.json": b"{}"})
    trust(monkeypatch, file)
    with pytest.raises(Misconfigured, match=r"standalone\.js"):
        install(tmp_path / "js", lambda _: file)


def test_without_npm_the_cure_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Misconfigured, match="--tarball"):
        install(tmp_path / "js")
