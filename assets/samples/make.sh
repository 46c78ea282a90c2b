#!/bin/sh
# Makes every file of this directory again from what is in source/: the words that are spoken, and what is
# shown on the screen. Only needed when those change; the results are committed.
#
# Needs espeak-ng (speech), sox (telephone band), ffmpeg (screen recording) and python3.
set -eu
cd "$(dirname "$0")"

for tool in espeak-ng sox ffmpeg python3; do
    command -v "$tool" >/dev/null || { echo "make.sh: $tool is missing" >&2; exit 1; }
done

python3 -B source/make.py .
sh source/screen.sh refund-screen.webm
