#!/usr/bin/python3
"""Prints compile_commands.json: compile_commands.py COMPILER FLAG… -- FILE… (made by `make compile_commands.json`)."""
import json
import os
import sys

divide = sys.argv.index("--")
command, files = sys.argv[1:divide], sys.argv[divide + 1:]
json.dump([{"directory": os.getcwd(), "file": name, "arguments": command + ["-c", name]} for name in files],
          sys.stdout, indent=1)
