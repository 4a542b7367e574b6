"""The texts of the dashboard by their keys, as src/ui/texts has them: flows name a button or a field by the key of its text."""

import pathlib
import tomllib

FOLDER = pathlib.Path(__file__).resolve().parent.parent.parent / "src/ui/texts"


class Texts:
    """The texts of a language."""

    def __init__(self, language):
        self.tables = tomllib.loads((FOLDER / f"{language}.toml").read_text())

    def __call__(self, key, *values):
        """The text of a key, with the values in their places. A text about a number takes the number."""
        found = self.tables
        for part in key.split("."):
            found = found[part]
        if isinstance(found, dict):
            found = found["one" if values == (1,) else "other"]
        for value in values:
            shown = f"{value:,}".replace(",", self.tables["format"]["thousands"]) if isinstance(value, int) else value
            found = found.replace("{}", shown, 1)
        return found
