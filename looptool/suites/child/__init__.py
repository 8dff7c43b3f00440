"""Programs that a benchmark's own interpreter runs; nothing here is imported by looptool.

Each is started as a script by `looptool.suites.process`, with a JSON file that says what to do, and finds
`confine` beside itself. They need the standard library and the benchmark, nothing of ours.
"""
