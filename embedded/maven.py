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


class RepositoryUnreachable(Exception):
    """The repository could not be asked this way; `is_transient` says whether trying again can help."""

    def __init__(self, reason: str, *, is_transient: bool) -> None:
        super().__init__(reason)
        self.is_transient = is_transient


def fetch_with_jgo(coordinates: Sequence[str], scratch: Path) -> Mapping[str, Path]:
    """Bring jars one after the other (in parallel they stall). jgo only warns about wrong hashes: the caller checks them."""
    try:
        from jgo.maven import MavenContext
    except ImportError as error:
        raise RepositoryUnreachable("jgo is not installed", is_transient=False) from error
    context = MavenContext(repo_cache=scratch / "jgo", timeout=30)
    fetched = {}
    for coordinate in coordinates:
        group, artifact, version = coordinate.split(":")
        try:
            fetched[coordinate] = Path(context.project(group, artifact).at_version(version).artifact().resolve())
        except (OSError, RuntimeError) as error:  # the HTTP client's errors are OSErrors
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
                raise
            raise RepositoryUnreachable(type(error).__name__, is_transient=True) from error
    return fetched


def fetch_with_mvn(coordinates: Sequence[str], scratch: Path) -> Mapping[str, Path]:
    """Bring jars with the machine's own Maven, where there is one."""
    command = shutil.which("mvn")
    if command is None:
        raise RepositoryUnreachable("no repository reached, and no mvn on PATH", is_transient=False)
    pom, target = scratch / "pom.xml", scratch / "jars"
    pom.write_text(_POM.format(dependencies="".join(_DEPENDENCY.format(*item.split(":")) for item in coordinates)))
    argv = [command, "-q", "-B", "-f", str(pom), "dependency:copy-dependencies", f"-DoutputDirectory={target}"]
    try:
        completed = subprocess.run(argv, capture_output=True, timeout=_TIMEOUT_S, check=False, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired as error:
        raise RepositoryUnreachable(f"mvn gave no answer in {_TIMEOUT_S} s", is_transient=False) from error
    if completed.returncode != 0:
        raise RepositoryUnreachable(f"no repository reached; mvn ended with {completed.returncode}", is_transient=False)
    file_names = {item: "{1}-{2}.jar".format(*item.split(":")) for item in coordinates}
    return {item: target / name for item, name in file_names.items() if (target / name).is_file()}
