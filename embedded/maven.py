"""Two ways to bring jars from a Maven repository; both follow the machine's own Maven settings for mirrors."""

import errno
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

_TIMEOUT_S = 300
_POM = """<project><modelVersion>4.0.0</modelVersion><groupId>onefold</groupId><artifactId>jars</artifactId><version>1</version>
<dependencies>{dependencies}</dependencies></project>"""
_DEPENDENCY = """<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version>
<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions></dependency>"""


class Unreachable(Exception):
    """The repository could not be asked this way; `may_pass` says whether trying again can help."""

    def __init__(self, reason: str, *, may_pass: bool) -> None:
        super().__init__(reason)
        self.may_pass = may_pass


def by_jgo(coordinates: Sequence[str], scratch: Path) -> Mapping[str, Path]:
    """Bring jars one after the other (in parallel they stall). jgo only warns about wrong hashes: the caller checks them."""
    try:
        from jgo.maven import MavenContext
    except ImportError as error:
        raise Unreachable("jgo is not installed", may_pass=False) from error
    context = MavenContext(repo_cache=scratch / "jgo", timeout=30)
    brought = {}
    for coordinate in coordinates:
        group, artifact, version = coordinate.split(":")
        try:
            brought[coordinate] = Path(context.project(group, artifact).at_version(version).artifact().resolve())
        except (OSError, RuntimeError) as error:  # the HTTP client's errors are OSErrors
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
                raise
            raise Unreachable(type(error).__name__, may_pass=True) from error
    return brought


def by_mvn(coordinates: Sequence[str], scratch: Path) -> Mapping[str, Path]:
    """Bring jars with the machine's own Maven, where there is one."""
    command = shutil.which("mvn")
    if command is None:
        raise Unreachable("no repository reached, and no mvn on PATH", may_pass=False)
    pom, target = scratch / "pom.xml", scratch / "jars"
    pom.write_text(_POM.format(dependencies="".join(_DEPENDENCY.format(*item.split(":")) for item in coordinates)))
    argv = [command, "-q", "-B", "-f", str(pom), "dependency:copy-dependencies", f"-DoutputDirectory={target}"]
    try:
        done = subprocess.run(argv, capture_output=True, timeout=_TIMEOUT_S, check=False, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired as error:
        raise Unreachable(f"mvn gave no answer in {_TIMEOUT_S} s", may_pass=False) from error
    if done.returncode != 0:
        raise Unreachable(f"no repository reached; mvn ended with {done.returncode}", may_pass=False)
    names = {item: "{1}-{2}.jar".format(*item.split(":")) for item in coordinates}
    return {item: target / name for item, name in names.items() if (target / name).is_file()}
