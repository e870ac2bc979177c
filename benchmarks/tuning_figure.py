"""Bars of speed-ups as an SVG drawing, without a library for it."""

from collections.abc import Sequence
from html import escape

_LEFT, _WIDTH, _ROW, _TOP = 150, 420, 24, 48


def draw(rows: Sequence[tuple[str, float]], *, title: str) -> str:
    """Return a drawing with a bar for each (name, speed-up), and a line where nothing is gained."""
    most = max(1.2, *(speedup for _, speedup in rows))
    height = _TOP + _ROW * len(rows) + 16

    def x(speedup: float) -> float:
        return _LEFT + _WIDTH * speedup / most

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="640" height="{height}" font-family="sans-serif" ',
        'font-size="13">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="16" y="24" font-size="15">{escape(title)}: times as fast as untuned</text>',
    ]
    for index, (name, speedup) in enumerate(rows):
        y = _TOP + _ROW * index
        parts += [
            f'<text x="{_LEFT - 8}" y="{y + 13}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{_LEFT}" y="{y}" width="{x(speedup) - _LEFT:.1f}" height="17" fill="#4c78a8"/>',
            f'<text x="{x(speedup) + 6:.1f}" y="{y + 13}">{speedup:.2f}</text>',
        ]
    parts.append(f'<path d="M{x(1):.1f} {_TOP - 6}V{height - 12}" stroke="#888" stroke-dasharray="4 3"/>')
    return "\n".join([*parts, "</svg>"]) + "\n"
