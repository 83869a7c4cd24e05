"""The service: HTTP and WebSocket answers of trained models, and a page for people (extra ``serve``).

Uploads stay in memory. Separate processes decode them (:mod:`serlab.serve.decoder`), so a file that
crashes a decoder, or needs too much time or memory, costs one process and not the service.
"""
