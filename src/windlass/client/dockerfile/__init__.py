"""Dockerfiles, understood on the client: text becomes instructions, stages, and in the end recipes.

    lines ──► words ──► instructions ──► stages ──► recipes (``assemble``; files of the context by ``context``)

Everything but ``assemble`` is pure or only reads local files. Belongs here: what a Dockerfile means. Does not: how a
recipe is carried out (the worker's). Imported on need, when an image with a Dockerfile is built.
"""
