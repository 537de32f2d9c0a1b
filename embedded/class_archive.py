"""A class archive for Kafka's JVM: the first broker records which classes it loads, later ones start in half the time."""

import asyncio
import fcntl
import hashlib
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from embedded.child_process import tie_to
from embedded.kafka import Kafka


class ClassArchive:
    """The archive for exactly this Java, these flags and these jars, kept in `cache`."""

    def __init__(self, kafka: Kafka, cache: Path) -> None:
        fingerprint = "\n".join((kafka.java.version, *kafka.flags(), kafka.classpath()))
        self._kafka = kafka
        self._cache = cache
        self._path = cache / f"kafka-{hashlib.sha256(fingerprint.encode()).hexdigest()[:16]}.jsa"
        self._classes = kafka.layout.run / "kafka.classes"

    def flags(self) -> list[str]:
        """Return JVM flags that use the archive, or flags that record the classes for it while it does not exist."""
        if self._path.exists():
            return [f"-XX:SharedArchiveFile={self._path}"]
        return [f"-XX:DumpLoadedClassList={self._classes}"]

    async def build(self) -> None:
        """Make the archive at the lowest priority, unless it exists or another process makes it. A failure costs only speed."""
        if self._path.exists() or not self._classes.exists():
            return
        with suppress(OSError):
            scratch = Path(tempfile.mkdtemp(prefix=".archive-", dir=self._cache))
            try:
                with (self._cache / ".archive.lock").open("w") as lock_file:
                    fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    await self._dump(scratch)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)

    async def _dump(self, scratch: Path) -> None:
        recorded = self._classes.read_text()
        classes, draft = scratch / "classes", scratch / "kafka.jsa"
        classes.write_text(recorded[: recorded.rfind("\n") + 1])  # the broker still writes its last line
        tie_to_parent = tie_to(os.getpid())

        def before_exec() -> None:
            tie_to_parent()
            os.nice(19)

        process = await asyncio.create_subprocess_exec(
            str(self._kafka.java.path), *self._kafka.flags(), "-Xshare:dump", f"-XX:SharedClassListFile={classes}",
            f"-XX:SharedArchiveFile={draft}", "-cp", self._kafka.classpath(),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
            preexec_fn=before_exec,
        )  # fmt: skip
        try:
            if await process.wait() == 0:
                draft.replace(self._path)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
