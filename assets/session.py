#!/usr/bin/env python3
"""Draws assets/session.svg: a terminal session that is really run, in the demo mount.

Usage: assets/session.py PATH-OF-interactionfs
"""
import html
import pathlib
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
CALL = "2480fc2c-bbd7-427c-9439-02f76583aef5"
COMMANDS = [
    "ls",
    f"ls -l {CALL}",
    'grep -rhi "card number" text/',
    f"ffprobe -hide_banner {CALL}/callRecording.wav 2>&1 | tail -n 2",
    "find . -name '*.wav' -newermt '-2 days' -size +1M",
    "getfattr -d --absolute-names by-agent/1342/*101500Z* | tail -n +2",
]
WIDTH = 108


def main():
    program = pathlib.Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as place:
        demo = subprocess.Popen([program, "demo", place], stdout=subprocess.PIPE, text=True)
        try:
            demo.stdout.readline()
            lines = []
            for command in COMMANDS:
                lines.append(("typed", command))
                run = subprocess.run(["bash", "-c", command], cwd=place, capture_output=True, text=True,
                                     env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"})
                for line in (run.stdout + run.stderr).splitlines():
                    lines.append(("shown", line if len(line) <= WIDTH else line[:WIDTH - 1] + "…"))
        finally:
            demo.terminate()
            demo.wait(10)
    (HERE / "session.svg").write_text(svg(lines), encoding="utf-8")


def svg(lines):
    height, row = 40 + 19 * len(lines), []
    for number, (kind, text) in enumerate(lines):
        y = 46 + 19 * number
        if kind == "typed":
            row.append(f'<text x="18" y="{y}" fill="#7fd07f">~/interactions $ '
                       f'<tspan fill="#ffffff">{html.escape(text)}</tspan></text>')
        else:
            row.append(f'<text x="18" y="{y}" fill="#c8ccd4">{html.escape(text)}</text>')
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="920" height="{height + 20}" '
            f'viewBox="0 0 920 {height + 20}" role="img" aria-label="A terminal session in a demo mount">\n'
            f'<rect width="100%" height="100%" rx="8" fill="#1d2129"/>\n'
            '<circle cx="20" cy="16" r="5" fill="#e06c75"/><circle cx="38" cy="16" r="5" fill="#e5c07b"/>'
            '<circle cx="56" cy="16" r="5" fill="#98c379"/>\n'
            '<g font-family="ui-monospace, DejaVu Sans Mono, monospace" font-size="13.5" xml:space="preserve">\n'
            + "\n".join(row) + "\n</g>\n</svg>\n")


if __name__ == "__main__":
    main()
