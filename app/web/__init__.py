"""The web page and its JSON API: ``conflict-framing serve``.

Bytes that somebody sends go one way: ``guard`` (who asks, how much) → ``intake`` (a process of its own with
bounded memory makes a checked table of them) → ``jobs`` (labels it in the background) → ``results`` (filter,
page, download). ``api`` names the addresses, ``static`` is the page.

Nothing is imported here: ``intake`` starts as a process of its own and shall not load a web framework.
"""
