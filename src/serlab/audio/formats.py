"""Suffixes of recordings. They only matter for the search in folders; the content decides what a file is."""

from __future__ import annotations

AUDIO_SUFFIXES = (
    ".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aiff", ".aif", ".aifc", ".au", ".snd", ".caf", ".w64", ".rf64",
    ".wave", ".bwf", ".sph", ".nist", ".mp2", ".mpga",
)  # fmt: skip
"""Read by serlab itself, in order of preference."""

MEDIA_SUFFIXES = (
    ".m4a", ".aac", ".webm", ".mp4", ".mov", ".wma", ".amr", ".awb", ".3gp", ".3gpp", ".3g2", ".mka", ".mkv", ".m4b",
    ".m4p", ".m4r", ".m4v", ".qt", ".adts", ".asf", ".wmv", ".avi", ".flv", ".f4v", ".f4a", ".mpg", ".mpeg", ".mts",
    ".m2ts", ".ts", ".vob", ".ogv", ".ogm", ".ogx", ".spx", ".weba", ".ac3", ".eac3", ".ec3", ".dts", ".ape", ".wv",
    ".tta", ".tak", ".mpc", ".mp+", ".shn", ".ra", ".rm", ".rmvb", ".gsm", ".qcp", ".voc", ".opu", ".mxf",
)  # fmt: skip
"""Containers and codecs, including video, whose first audio stream is read through PyAV (extra ``media``)."""

UNREAD_SUFFIXES = (
    ".aa", ".aax", ".dff", ".dsf", ".ds2", ".dss", ".dvf", ".htk", ".iff", ".8svx", ".msv", ".nsp", ".ofr", ".paf",
    ".pcm", ".pvf", ".raw", ".sd2", ".vox", ".wve",
    ".aa3", ".alaw", ".at3", ".avr", ".cda", ".dv", ".g722", ".g723", ".g726", ".g729", ".ircam", ".la", ".latm",
    ".loas", ".m2t", ".m4s", ".mulaw", ".oma", ".sln", ".sox", ".thd", ".ulaw", ".vqf", ".wav49",
)  # fmt: skip
"""Recordings that serlab does not read; they are found so that each can be listed with a reason."""
