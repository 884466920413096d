"""Packages for Lambda: deployment.zip (Executor and Invoker), bootstrap.zip, layers and bundles.

target        which Python, processor and system a zip is for
vendor        third-party distributions for a target, as a tree of files
bytecode      the same files, compiled for the target's Python
archive       a tree of files to a zip whose bytes depend on nothing else
build         what goes into each zip of ours
requirements  what layers are asked for: known names, or requirements files
pip           the one place that runs pip
resolve       which distributions they need, in which versions
complaint     what pip says when it cannot choose, in our words
wheels        their wheels, fetched once, and what is in them
strip         what of a wheel a run never needs
layers        the layers' zips
overflow      a bundle's parts, and its entry of the manifest
sizes         what is in a zip and how large, as a table
"""
