#!/usr/bin/env python3
"""Opens the dashboard of a real cluster in a real browser, and hands its metrics to Prometheus' own tools.

    scripts/dashboard-test.py                               # half a minute; MEANTIME=path uses that binary
    scripts/dashboard-test.py --screenshots docs/figures    # takes the documents' pictures, in two minutes

The browser is Chromium of Debian's packages, without a window; it is installed, as root, if it is missing.
Prometheus is unpacked from Debian's package under target/, and not installed. Says with NOT RUN what could
not be had, and exits with 77 if that is everything, with 1 if something is wrong.
"""

import argparse
import base64
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

from lib import cluster as nodes
from lib.installing import unpack, why_missing
from lib.program import TARGET, find_meantime
from lib.waiting import WAIT_S, wait_for

# What members call themselves is put in by strangers.
HOSTILE = '<img src=x onerror="a()">'[:24]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--screenshots", metavar="DIRECTORY", help="put dashboard-light.png and dashboard-dark.png there"
    )
    options = parser.parse_args()
    chromium, tools = find_chromium(), None if options.screenshots else find_prometheus()
    if not chromium and not tools:
        sys.exit(77)
    program = find_meantime()
    with tempfile.TemporaryDirectory() as directory:
        if options.screenshots:
            if chromium:
                take_screenshots(program, chromium, directory, options.screenshots)
            return
        if tools:
            check_metrics(program, tools, os.path.join(directory, "metrics"))
        if chromium:
            check_page(program, chromium, os.path.join(directory, "page"))
    print("PASS the dashboard")


# What it needs


def not_run(what, why):
    print(f"NOT RUN: {what}: {why}", flush=True)


def find_chromium():
    if why := why_missing("chromium", "chromium", "fonts-dejavu-core"):
        return not_run("the dashboard in a browser", why)
    return shutil.which("chromium")


def find_prometheus():
    """The directory of promtool and prometheus."""
    if shutil.which("promtool") and shutil.which("prometheus"):
        return os.path.dirname(shutil.which("promtool"))
    root = os.path.join(TARGET, "prometheus")
    programs = os.path.join(root, "usr", "bin")
    if not os.path.exists(os.path.join(programs, "promtool")):
        if why := unpack("prometheus", root):
            return not_run("the dashboard's metrics with Prometheus", why)
    return programs


# A cluster and its dashboard


class Cluster(nodes.Cluster):
    """A server, clients whose clocks are wrong, and a dashboard."""

    def __init__(self, program, directory, names, interval="500ms"):
        super().__init__(program, directory)
        self.interval = interval
        self.port = "0"
        self.start_server()
        for index, name in enumerate(names):
            self.start_client(name, index)
        self.start("dashboard", "dashboard", "--listen", "127.0.0.1:0", "--control", self.control())
        self.url = wait_for("the dashboard", lambda: self.printed("dashboard").split()[-1:] or None)[0]

    def start_server(self):
        options = (
            "--interval",
            self.interval,
            "--simulate-offset",
            "-3s",
            "--control",
            self.control(),
            "--output",
            "json",
        )
        self.start("server", "server", "--listen", f"127.0.0.1:{self.port}", *options)
        self.port = self.address().rpartition(":")[2]

    def start_client(self, name, index):
        wrong = [
            f"--simulate-offset={(index + 1) * 0.7:.1f}s",
            f"--simulate-drift={(-1) ** index * 15 * (index + 1)}ppm",
        ]
        quiet = ("--control", self.control(f"client-{index}"))
        self.start(name, "client", f"127.0.0.1:{self.port}", "--name", name, *wrong, *quiet)

    def get(self, path, **headers):
        """Status and text of a page."""
        try:
            with urllib.request.urlopen(
                urllib.request.Request(self.url + path, headers=headers), timeout=10
            ) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def wait_until_healthy(self):
        wait_for("the cluster to agree", lambda: self.get("healthz")[0] == 200)


def check(what, right, details=""):
    if not right:
        sys.exit(f"FAILED: {what} {details}")
    print(f"ok: {what}", flush=True)


# Metrics


def check_metrics(program, tools, directory):
    promtool = os.path.join(tools, "promtool")
    rules = os.path.abspath("contrib/prometheus/meantime.rules.yml")
    with Cluster(program, directory, ["alice", HOSTILE]) as cluster:
        cluster.wait_until_healthy()
        _, text = cluster.get("metrics")
        done = subprocess.run([promtool, "check", "metrics"], input=text, text=True, capture_output=True)
        check("promtool check metrics", done.returncode == 0, done.stdout + done.stderr)
        done = subprocess.run([promtool, "check", "rules", rules], text=True, capture_output=True)
        check("promtool check rules", done.returncode == 0, done.stdout + done.stderr)
        done = subprocess.run(
            [promtool, "test", "rules", "meantime.rules.test.yml"],
            cwd=os.path.dirname(rules),
            text=True,
            capture_output=True,
        )
        check("promtool test rules", done.returncode == 0, done.stdout + done.stderr)
        check_scraped(cluster, tools, directory, text)


def check_scraped(cluster, tools, directory, text):
    """Prometheus itself reads the metrics, as OpenMetrics, and the expressions of the Grafana dashboard
    find something."""
    target = cluster.url.removeprefix("http://").rstrip("/")
    config = os.path.join(directory, "prometheus.yml")
    with open(config, "w") as file:
        json.dump(
            {
                "scrape_configs": [
                    {
                        "job_name": "meantime",
                        "scrape_interval": "1s",
                        "static_configs": [{"targets": [target]}],
                    }
                ]
            },
            file,
        )
    with open(os.path.join(directory, "prometheus.log"), "w") as log:
        process = subprocess.Popen(
            [
                os.path.join(tools, "prometheus"),
                f"--config.file={config}",
                f"--storage.tsdb.path={directory}/data",
                "--web.listen-address=127.0.0.1:0",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        read_log = lambda: open(os.path.join(directory, "prometheus.log")).read()
        address = wait_for("Prometheus", lambda: re.search(r"address=(127\.0\.0\.1:[1-9]\d*)", read_log()))[1]

        def query(expression):
            url = f"http://{address}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
            try:
                with urllib.request.urlopen(url, timeout=10) as answer:
                    return json.load(answer)["data"]["result"]
            except urllib.error.HTTPError as error:
                sys.exit(f"FAILED: {expression}: {error.read().decode()}")
            except OSError:
                return []

        wait_for(
            "Prometheus to read the metrics",
            lambda: query("meantime_member_up") and query('up{job="meantime"} == 1'),
        )
        names = {sample["metric"]["name"] for sample in query("meantime_member_up")}
        check("Prometheus reads the metrics, hostile names and all", names == {"alice", HOSTILE}, str(names))
        time.sleep(3)
        with open("contrib/grafana/meantime.json") as file:
            panels = json.load(file)["panels"]
        for panel in panels:
            for wanted in panel.get("targets", []):
                expression = wanted["expr"].replace("$__rate_interval", "10s").replace("$instance", ".*")
                check(f"Grafana's panel '{panel['title']}' has data", query(expression), expression)
    finally:
        process.terminate()
        process.wait(20)


# The page


class Browser:
    """Chromium without a window, driven over a pipe."""

    def __init__(self, program, directory):
        to_browser, from_browser = os.pipe(), os.pipe()

        def connect():
            # Whatever the pipes' numbers are: Chromium reads from 3 and writes to 4.
            read, write = os.dup(to_browser[0]), os.dup(from_browser[1])
            spare = [os.dup2(read, 20), os.dup2(write, 21)]
            os.dup2(spare[0], 3)
            os.dup2(spare[1], 4)

        flags = [
            "--headless=new",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-extensions",
            "--disable-background-networking",
            "--hide-scrollbars",
            f"--user-data-dir={directory}",
            "--remote-debugging-pipe",
        ]
        if os.geteuid() == 0:
            flags.append("--no-sandbox")
        with open(os.path.join(os.path.dirname(directory), "chromium.log"), "w") as log:
            self.process = subprocess.Popen(
                [program, *flags, "about:blank"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=connect,
                close_fds=False,
            )
        os.close(to_browser[0])
        os.close(from_browser[1])
        self.write, self.read = to_browser[1], from_browser[0]
        self.rest, self.number, self.session, self.events = b"", 0, None, []
        page = self.command("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.command("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.command(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def command(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.number:
                if "error" in answer:
                    sys.exit(f"FAILED: {method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def receive(self):
        while b"\0" not in self.rest:
            if not select.select([self.read], [], [], WAIT_S)[0]:
                sys.exit("FAILED: the browser has not answered")
            received = os.read(self.read, 1 << 16)
            if not received:
                sys.exit("FAILED: the browser has ended")
            self.rest += received
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)

    def evaluate(self, expression):
        result = self.command("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in result:
            sys.exit(f"FAILED: {expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def size(self, width, height):
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def scheme(self, name):
        self.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def complaints(self):
        """What stands in the console, if it is no mere remark."""
        kinds = {
            "Runtime.exceptionThrown": lambda p: True,
            "Log.entryAdded": lambda p: p["entry"]["level"] in ("error", "warning"),
            "Runtime.consoleAPICalled": lambda p: p["type"] in ("error", "warning", "assert"),
        }
        return [
            event
            for event in self.events
            if event.get("method") in kinds and kinds[event["method"]](event["params"])
        ]

    def requested(self):
        return {
            event["params"]["request"]["url"]
            for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
        }

    def picture(self, path):
        height = self.evaluate("document.documentElement.scrollHeight")
        width = self.evaluate("innerWidth")
        self.size(width, height)
        time.sleep(1.5)
        with open(path, "wb") as file:
            file.write(base64.b64decode(self.command("Page.captureScreenshot", format="png")["data"]))
        print(f"{path}: {os.path.getsize(path) / 1e3:.0f} kB")


PRESENCES = "Object.fromEntries([...document.querySelectorAll('#members tr')].map((row) => [row.dataset.name, row.dataset.presence]))"
HEALTH = "document.getElementById('health').className + ': ' + document.getElementById('health').textContent"


def check_page(program, chromium, directory):
    names = ["alice", "bob", HOSTILE]
    with (
        Cluster(program, directory, names) as cluster,
        Browser(chromium, os.path.join(directory, "chromium")) as browser,
    ):
        cluster.wait_until_healthy()
        browser.size(1280, 900)
        browser.command("Page.navigate", url=cluster.url)
        present = dict.fromkeys(names, "present")
        wait_for("the members on the page", lambda: browser.evaluate(PRESENCES) == present)
        check("the page shows the live members", True)
        wait_for(
            "the cluster's health on the page",
            lambda: browser.evaluate(HEALTH) == "pill good: 4 of 4 clocks agree",
        )
        check("the page says that the clocks agree", True)
        wait_for(
            "the plots",
            lambda: browser.evaluate("document.querySelectorAll('#plots svg polyline.line').length") >= 14,
        )
        check("every member has its lines", True)
        images = browser.evaluate("document.querySelectorAll('img').length")
        check(
            "a member's name is text, whatever it looks like",
            images == 0 and browser.evaluate("typeof a") == "undefined",
        )
        rounds = "Number([...document.querySelectorAll('#tiles div')].find((tile) => tile.textContent.startsWith('Round')).querySelector('dd').firstChild.data)"
        before = browser.evaluate(rounds)
        wait_for("the next rounds", lambda: browser.evaluate(rounds) > before + 2)
        check("the page is live", True)
        cluster.stop("bob", signal.SIGKILL)
        wait_for("bob to be lost", lambda: browser.evaluate(PRESENCES).get("bob") == "lost")
        listed = "document.getElementById('events').textContent"
        wait_for("the event", lambda: "is lost" in browser.evaluate(listed))
        check("a member that stops is shown as lost", True)
        cluster.stop("alice")
        wait_for("alice to have left", lambda: browser.evaluate(PRESENCES).get("alice") == "left")
        check("a member that says goodbye is shown as such", True)
        cluster.start_client("bob", 1)
        wait_for("bob to be back", lambda: browser.evaluate(PRESENCES).get("bob") == "present")
        check("a member that comes back is itself again", True)
        cluster.stop("server", signal.SIGKILL)
        wait_for("the page to say so", lambda: browser.evaluate(HEALTH) == "pill bad: no answer")
        wait_for(
            "the reason",
            lambda: "any more" in browser.evaluate("document.getElementById('trouble').textContent"),
        )
        check("a server that is gone is reported", True)
        check("a server that is gone is not healthy", cluster.get("healthz")[0] == 503)
        cluster.start_server()
        wait_for("the page to be right again", lambda: browser.evaluate(HEALTH).startswith("pill good"), 60)
        check("a server that is back is seen without a reload", True)
        for width in (1280, 390):
            browser.size(width, 800)
            time.sleep(0.5)
            wide = browser.evaluate("document.documentElement.scrollWidth")
            check(f"nothing sticks out of {width} pixels", wide <= width, str(wide))
        check(
            "nothing came from elsewhere",
            all(url.startswith((cluster.url, "about:")) for url in browser.requested()),
            str(browser.requested()),
        )
        check("the console is empty", not browser.complaints(), json.dumps(browser.complaints())[:2000])


def take_screenshots(program, chromium, directory, output):
    names = ["barge", "crane", "lathe", "press", "robot"]
    with (
        Cluster(program, os.path.join(directory, "c"), names, "1s") as cluster,
        Browser(chromium, os.path.join(directory, "chromium")) as browser,
    ):
        cluster.wait_until_healthy()
        browser.size(1280, 900)
        browser.command("Page.navigate", url=cluster.url)
        # The first seconds, when the clocks were far apart, shall be out of the picture.
        time.sleep(75)
        cluster.stop("press", signal.SIGKILL)
        time.sleep(8)
        cluster.start_client("press", 3)
        time.sleep(30)
        cluster.stop("crane", signal.SIGKILL)
        time.sleep(10)
        browser.evaluate(
            "document.getElementById('window').value = '60'; document.getElementById('window').dispatchEvent(new Event('change'))"
        )
        for scheme in ("light", "dark"):
            browser.scheme(scheme)
            browser.picture(os.path.join(output, f"dashboard-{scheme}.png"))
        browser.size(390, 844)
        time.sleep(1)
        browser.picture(os.path.join(directory, "phone.png"))
        if os.environ.get("KEEP"):
            shutil.copy(os.path.join(directory, "phone.png"), os.environ["KEEP"])


if __name__ == "__main__":
    main()
