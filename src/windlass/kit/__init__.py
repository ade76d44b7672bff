"""What the standard library forgot. No domain words here: every module would make sense in any program.

Imports only the standard library: these modules are mounted into user containers.
"""
