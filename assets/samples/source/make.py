"""Speaks the dialogues of calls.py, phrase by phrase, so that every transcript's times are the sound's own."""

import array
import json
import math
import random
import subprocess
import sys
import wave
from pathlib import Path

import calls

RATE = 8000
OUT = Path(sys.argv[1])
SPOKEN = {}


def spoken(speaker, text):
    """A phrase as samples of a telephone line: 300 to 3400 Hz, no silence at either end."""
    if (speaker, text) not in SPOKEN:
        voice, speed, pitch = calls.VOICES[speaker]
        speech = subprocess.run(
            ["espeak-ng", "-v", voice, "-s", str(speed), "-p", str(pitch), "--stdout", text],
            check=True, capture_output=True).stdout
        # espeak-ng writes a length it does not know yet into the header of a pipe; sox must ignore it.
        line = subprocess.run(
            ["sox", "-R", "--ignore-length", "-t", "wav", "-", "-t", "raw", "-r", str(RATE), "-e", "signed", "-b", "16", "-c", "1", "-",
             "highpass", "250", "lowpass", "3400", "norm", "-7",
             "silence", "1", "0.005", "0.8%", "reverse", "silence", "1", "0.005", "0.8%", "reverse"],
            input=speech, check=True, capture_output=True).stdout
        samples = array.array("h")
        samples.frombytes(line)
        SPOKEN[speaker, text] = samples
    return SPOKEN[speaker, text]


def words_of(text, start, end):
    """Times of the words within a phrase, by their lengths: an estimate."""
    words = text.split()
    weights = [len(word) + 2 for word in words]
    seconds = (end - start) / sum(weights)
    timed, at = [], start
    for word, weight in zip(words, weights):
        timed.append({"text": word, "start": round(at, 2), "end": round(at + weight * seconds, 2)})
        at += weight * seconds
    return timed


def role(speaker):
    return "agent" if "agent" in speaker or speaker == "machine" else "customer"


def perform(turns):
    """Phrases with times, and one track for each role."""
    phrases, placed, clock = [], [], 0
    for speaker, pause, text in turns:
        clock += round(pause * RATE)
        for number, phrase in enumerate(text.split("\n")):
            if number:
                clock += round(0.28 * RATE)
            samples = spoken(speaker, phrase)
            placed.append((role(speaker), clock, samples))
            start, end = round(clock / RATE, 2), round((clock + len(samples)) / RATE, 2)
            phrases.append({
                "speaker": role(speaker), "start": start, "end": end, "text": phrase,
                "confidence": round(0.9 + (len(phrase) * 7 % 9) / 100, 2),
                "words": words_of(phrase, start, end)})
            clock += len(samples)
    length = max(start + len(samples) for _, start, samples in placed) + round(0.5 * RATE)
    noise = random.Random(length)
    tracks = {}
    for name in ("agent", "customer"):
        # A line is never quite silent.
        track = array.array("h", (noise.randint(-5, 5) for _ in range(length)))
        for owner, start, samples in placed:
            if owner == name:
                for place, sample in enumerate(samples, start):
                    track[place] = max(-32768, min(32767, track[place] + sample))
        tracks[name] = track
    phrases.sort(key=lambda phrase: phrase["start"])
    return phrases, tracks


def add_hold_music(tracks, start, seconds):
    """A soft falling broken chord, on the agent's side."""
    notes = [523.25, 659.26, 783.99, 659.26, 587.33, 698.46, 880.0, 698.46]
    track = tracks["agent"]
    for place in range(round(seconds * RATE)):
        time = place / RATE
        within = time % 0.4
        note = notes[int(time / 0.4) % len(notes)]
        fade = min(1.0, time * 2, (seconds - time) * 2)
        loud = 1800 * fade * math.exp(-4 * within)
        track[round(start * RATE) + place] += round(loud * math.sin(2 * math.pi * note * time))


def write_pcm(name, channels):
    with wave.open(str(OUT / name), "wb") as file:
        file.setnchannels(len(channels))
        file.setsampwidth(2)
        file.setframerate(RATE)
        frames = array.array("h", (sample for frame in zip(*channels) for sample in frame))
        file.writeframes(frames.tobytes())


def write_stereo(name, tracks):
    write_pcm(name, [tracks["agent"], tracks["customer"]])


def write_mono(name, tracks):
    write_pcm(name, [[max(-32768, min(32767, a + c)) for a, c in zip(tracks["agent"], tracks["customer"])]])


def as_mu_law(name):
    """The same recording at half the size, as many telephone systems store it (format tag 7)."""
    linear = OUT / f"linear-{name}"
    (OUT / name).rename(linear)
    subprocess.run(["sox", "-R", "-D", linear, "-e", "mu-law", OUT / name], check=True)
    linear.unlink()


def write_json(name, value):
    (OUT / name).write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def default_shape(phrases):
    return {"language": "en-gb", "phrases": phrases}


def bare(phrase):
    return {key: phrase[key] for key in ("start", "end", "text")}


def two_list_shape(phrases):
    return {name: [bare(phrase) for phrase in phrases if phrase["speaker"] == name] for name in ("agent", "customer")}


def words_only_shape(phrases):
    return {"language": "en-gb", "words": [
        {"w": word["text"], "startMs": round(word["start"] * 1000), "endMs": round(word["end"] * 1000), "speaker": phrase["speaker"]}
        for phrase in phrases for word in phrase["words"]]}


def plain_string_shape(phrases):
    return {"language": "en-gb", "status": "processed", "confidence": "High",
            "transcript": "\n".join(phrase["text"] for phrase in phrases)}


def analysis(phrases):
    sections = [-0.12, -0.35, -0.28, -0.05, 0.10, -0.15, 0.22, 0.31, 0.48, 0.66]
    write_json("refund-sentiment.json", {
        "overallSentiment": 0.08,
        "categories": {"veryNegative": 4, "negative": 21, "neutral": 38, "positive": 26, "veryPositive": 11},
        "distributionOverTime": [{"score": score, "span": {"start": place * 10, "end": place * 10 + 10}}
                                 for place, score in enumerate(sections)]})

    def found(name, words):
        times = [phrase["start"] for phrase in phrases if any(word in phrase["text"].lower() for word in words)]
        return {"name": name, "matches": str(len(times)), "times": times}

    write_json("refund-categories.json", {"categories": [
        {"category": "Billing", "categories": [found("Refund", ["refund", "money back"])]},
        {"category": "Compliance", "categories": [found("Card data warning", ["card number"]), found("Recording mentioned", ["recorded"])]},
        {"category": "Courtesy", "categories": [found("Apology", ["sorry"]), found("Thanks", ["thank"])]}]})
    write_json("refund-summary.json", {"conversationSummary": {
        "summary": "The customer received a cracked kettle and asked for a refund. The agent found the order, stopped the customer "
                   "from reading out a card number, and refunded 24.50 to the card used for the purchase.",
        "keyTopics": ["Damaged on arrival", "Refund", "Card data kept off the recording"],
        "followUpActions": ["Text message when the refund is on its way", "No return needed"]}})


def chat():
    def message(time, sender, text, **more):
        return {"sender": {"role": sender}, "timestamp": f"2026-11-20T16:20:{time}Z", "text": text, **more}

    write_json("chat.json", {"channel": "webchat", "messages": [
        message("04.120", "system", "The chat has started."),
        message("11.480", "customer", "Hi! Is the <b>Fell&nbsp;40</b> rucksack waterproof?"),
        message("24.900", "agent", "Hello, Sam here. It is water-resistant &amp; comes with a rain cover."),
        message("41.050", "customer", "Nice 👍 I have a voucher, can you check that it is still good?"),
        message("52.700", "customer", "voucher.pdf", attachment={"contentKey": "b7e1c0de-52c4-4f0b-9a61-3d8ff2a4c915"}),
        message("58.310", "agent", "It is good until the end of the year.<br>You can enter it at the checkout."),
        message("59.870", "customer", "Perfect, thanks a lot!")]})


def pdf():
    text = b"BT /F1 18 Tf 40 90 Td (Harbour Outfitters: 10 off any rucksack) Tj ET"
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>",
               b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
               b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 420 180] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
               b"<< /Length %d >>\nstream\n%s\nendstream" % (len(text), text),
               b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    file, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(file))
        file += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = len(file)
    file += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    file += b"".join(b"%010d 00000 n \n" % place for place in places)
    file += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, table)
    (OUT / "voucher.pdf").write_bytes(file)


def oddities():
    (OUT / "gauge.bin").write_bytes(bytes(range(256)))
    (OUT / "note.txt").write_text("Caller hung up before anybody answered.\n", encoding="utf-8")
    write_json("abandoned-log.json", {"notes": [{"author": "system", "text": "Abandoned in the queue."}],
                                      "dispositionCodes": ["abandoned"]})


def main():
    phrases, tracks = perform(calls.REFUND)
    write_stereo("refund.wav", tracks)
    write_json("refund-transcript.json", default_shape(phrases))
    analysis(phrases)

    phrases, tracks = perform(calls.CALLBACK)
    write_stereo("callback.wav", tracks)
    as_mu_law("callback.wav")
    write_json("callback-transcript.json", default_shape(phrases))

    phrases, tracks = perform(calls.TRANSFER)
    held = next(phrase["end"] for phrase in phrases if "hold the line" in phrase["text"])
    add_hold_music(tracks, held + 0.6, 4.0)
    write_stereo("transfer.wav", tracks)
    as_mu_law("transfer.wav")
    write_json("transfer-transcript.json", default_shape(phrases))

    for name, turns, shape in (("delivery", calls.DELIVERY, two_list_shape),
                               ("sizes", calls.SIZES, words_only_shape),
                               ("opening", calls.OPENING, plain_string_shape)):
        phrases, tracks = perform(turns)
        write_stereo(f"{name}.wav", tracks)
        as_mu_law(f"{name}.wav")
        write_json(f"{name}-transcript.json", shape(phrases))

    phrases, tracks = perform(calls.VOICEMAIL)
    write_pcm("voicemail.wav", [tracks["customer"]])
    write_json("voicemail-transcript.json", default_shape(phrases))

    _, tracks = perform(calls.IVR)
    write_mono("ivr.wav", tracks)

    chat()
    pdf()
    oddities()


main()
