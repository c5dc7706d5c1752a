"""Which colour is which part: a line or more below every sheet of tiles."""

from PIL import ImageDraw, ImageFont

from hands.parts import FINGER_PARTS, PART_COLOURS, PART_NAMES

GREY = 128  # of ignored pixels
PALM = 9
ENTRIES = [(PART_NAMES[PALM], (PALM,)), *FINGER_PARTS.items()]  # colours of a finger stand from the palm to the tip
UNKNOWN = "not known"


class Legend:
    """Entries of one swatch a colour and a name, in as many lines as the width asks for.

    Args:
        width: of the sheet, pixels.
        font: of its texts; swatches and lines are as high as it.
        unknown: whether grey, of ignored pixels, has an entry.
    """

    def __init__(self, width: int, font: ImageFont.FreeTypeFont, unknown: bool):
        self.font = font
        self.swatch = round(font.size)
        self.line = round(1.4 * font.size)
        self.entries: list[tuple[str, list[tuple[int, ...]], int, int]] = []  # name, colours, left, top
        named = [(name, [tuple(PART_COLOURS[part].tolist()) for part in parts]) for name, parts in ENTRIES]
        named.append(("(fingers from palm to tip)", []))
        if unknown:
            named.append((UNKNOWN, [3 * (GREY,)]))
        left, top = self.swatch // 2, 0
        for name, colours in named:
            entry = len(colours) * self.swatch + round(1.5 * self.swatch + font.getlength(name))
            if left + entry > width and left > self.swatch // 2:
                left, top = self.swatch // 2, top + self.line
            self.entries.append((name, colours, left, top))
            left += entry
        self.height = top + self.line

    def draw(self, draw: ImageDraw.ImageDraw, top: int) -> None:
        for name, colours, left, line in self.entries:
            for colour in colours:
                draw.rectangle((left, top + line + 2, left + self.swatch - 1, top + line + self.swatch + 1), fill=colour)
                left += self.swatch
            draw.text((left + self.swatch // 3, top + line), name, fill="black", font=self.font)
