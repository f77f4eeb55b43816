"""Holds mail with more recipients than the setting `max-recipients` allows.

A result is what a function returns; an error is an `Err` with a text that it raises. Names are those of the WIT in snake_case, each
case of a variant is a class (`Verdict_Hold`), list<u8> is bytes.
"""

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports.types import Decision, Verdict_Accept, Verdict_Hold

max_recipients = None


class Configure(exports.Configure):
    def configure(self, settings):
        global max_recipients
        for setting in settings:
            if setting.name != "max-recipients":
                raise Err(f"`{setting.name}` is not a setting; there is max-recipients")
            if not setting.value.isdecimal():
                raise Err(f"`max-recipients` cannot be `{setting.value}`")
            max_recipients = int(setting.value)
        if max_recipients is None:
            raise Err("`max-recipients` is missing")


class Decide(exports.Decide):
    def decide(self, message):
        recipients = len(message.envelope.recipients)
        verdict = (
            Verdict_Accept()
            if recipients <= max_recipients
            else Verdict_Hold(f"{recipients} recipients, more than {max_recipients}")
        )
        return Decision(verdict, [], [], [])
