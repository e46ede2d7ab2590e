"""Debian's packages: installed or fetched only where MEANTIME_INSTALL is 1, which `scripts/check.sh
--install` sets."""

import os
import shutil
import subprocess
import tempfile

HINT = "scripts/check.sh --install, or MEANTIME_INSTALL=1, does it"


def may_install():
    return os.environ.get("MEANTIME_INSTALL") == "1"


def apt(*arguments, directory=None, limit_s=600):
    """Runs apt-get in silence; whether it has succeeded."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    try:
        done = subprocess.run(
            ["apt-get", *arguments], cwd=directory, env=environment, timeout=limit_s, check=False, **quiet
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def twice(attempt):
    """Tries, and once more with new lists of packages: those of a fresh machine, or old ones, may not have
    the package."""
    return attempt() or (apt("update") and attempt())


def why_missing(tool, *packages):
    """Makes sure of a tool. None if it is there now, or else the reason why not, with the command that
    installs it."""
    if shutil.which(tool):
        return None
    command = f"apt-get install {' '.join(packages)}"
    if not may_install():
        return f"{tool} is missing ({command}; {HINT})"
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return f"{tool} is missing, and only root can install it, on Debian ({command})"
    print(f"installing {' '.join(packages)}", flush=True)
    twice(lambda: apt("install", "-y", "--no-install-recommends", *packages))
    return None if shutil.which(tool) else f"{tool} is missing, and cannot be installed ({command})"


def unpack(package, directory):
    """Unpacks a package of Debian's into a directory, and installs nothing. None, or the reason why it did
    not."""
    if not may_install():
        return f"Debian's package {package} is not there, and is not fetched ({HINT})"
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        return f"{package} is missing, and this is no Debian"
    with tempfile.TemporaryDirectory() as download:
        # Where apt drops its privileges for a download it must be able to write there.
        os.chmod(download, 0o777)
        if not twice(lambda: apt("download", package, directory=download)):
            return f"Debian's package {package} cannot be fetched"
        os.makedirs(directory, exist_ok=True)
        for archive in os.listdir(download):
            subprocess.run(["dpkg", "-x", os.path.join(download, archive), directory], check=True)
    return None
