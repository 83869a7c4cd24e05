"""The browser example gives the minimal example's answer in Chromium, and asks no other host for anything."""

from __future__ import annotations

import functools
import http.server
import re
import shutil
import subprocess
import threading
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import soundfile

from serlab import load_model
from serlab.export.exporting import export

PAGE = Path(__file__).resolve().parents[2] / "examples" / "browser"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

WAIT = """<img src="/wait.png" alt=""><script>
const look = setInterval(() => {
  if (document.body.dataset.ready) { clearInterval(look); fetch("/done.txt"); }
}, 20);
</script>"""


@pytest.fixture(scope="module")
def site(tiny_models, tiny_corpus, tmp_path_factory):
    """The example with a model, a clip and a broken clip, served on this machine: its address and folder."""
    if CHROMIUM is None or not (PAGE / "vendor" / "ort.wasm.min.mjs").is_file():
        pytest.skip("needs Chromium and examples/browser/fetch.sh")
    folder = tmp_path_factory.mktemp("site") / "page"
    shutil.copytree(PAGE, folder)
    export(load_model(tiny_models["mfcc-svm"]), folder / "model.onnx")
    shutil.copy(sorted(tiny_corpus.parent.glob("*.wav"))[0], folder / "clip.wav")
    (folder / "broken.wav").write_bytes(b"RIFF, but no sound")
    soundfile.write(folder / "silent.wav", np.zeros(16000), 16000)

    # The page counts as loaded, and is printed, when its image has come: after its scripts have ended.
    page = (folder / "index.html").read_text("utf-8")
    (folder / "index.html").write_text(page.replace("</body>", f"{WAIT}</body>"), "utf-8")
    done = threading.Event()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/wait.png":
                done.wait(60)
                done.clear()
            elif self.path == "/done.txt":
                done.set()
            super().do_GET()

        def log_message(self, *_):
            pass

    handler = functools.partial(Handler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", folder
        server.shutdown()


def opened(address: str, tmp_path: Path) -> str:
    """The page after its scripts have run; every other host is out of reach."""
    options = [
        "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}", "--dump-dom",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ]  # fmt: skip
    return subprocess.run(
        [str(CHROMIUM), *options, address], capture_output=True, text=True, timeout=120, check=True
    ).stdout


def test_the_page_answers_like_onnxruntime(site, tmp_path) -> None:
    address, folder = site
    page = opened(f"{address}/index.html?clip=clip.wav", tmp_path)
    samples = soundfile.read(folder / "clip.wav", dtype="float32")[0]
    (wanted,) = onnxruntime.InferenceSession(folder / "model.onnx").run(None, {"audio": samples[None]})[0]
    found = [float(value) for value in re.findall(r'value="([\d.e-]+)"', page)]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4)
    best = ("calm", "happy", "sad")[int(wanted.argmax())]
    assert f"clip.wav: {best} (" in page


@pytest.mark.parametrize(
    ("name", "words"), [("broken.wav", "broken.wav cannot be decoded"), ("silent.wav", "silent.wav is silent")]
)
def test_a_file_that_cannot_be_used_is_named(site, tmp_path, name, words) -> None:
    assert words in opened(f"{site[0]}/index.html?clip={name}", tmp_path)


def test_scripts_name_no_other_host() -> None:
    own = "".join(path.read_text("utf-8") for path in (PAGE / "app.js", PAGE / "index.html"))
    assert "://" not in own
