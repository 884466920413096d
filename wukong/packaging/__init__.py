"""Packages for Lambda: deployment.zip (Executor and Invoker) and bootstrap.zip.

target    which Python, processor and system a zip is for
vendor    third-party distributions for a target, as a tree of files
bytecode  the same files, compiled for the target's Python
archive   a tree of files to a zip whose bytes depend on nothing else
build     what goes into each zip
sizes     what is in a zip and how large, as a table
"""
