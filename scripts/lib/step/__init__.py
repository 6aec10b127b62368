"""What every command line shares: arguments, errors, logs, whole files, the form of the config.

Imports no other package of lib.
"""
