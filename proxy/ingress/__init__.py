"""The OpenAI surface `/v1/*`: HTTP → `ClientRequest`, answer → HTTP; a file per surface.

Decides neither who, nor where, nor how much.
"""
