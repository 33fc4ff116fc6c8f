#!/usr/bin/python3
"""The demo's input and output.

    demo_photo.py PHOTO.jpg EVENT.json    draw a picture of 4000x3000 and an event that carries it
    demo_photo.py --save ANSWER.json DIR  write the thumbnails of the function's answer to DIR

The picture is computed (a sky, a sun, ridges of mountains, water), so that no binary is kept here.
"""
import base64
import io
import json
import math
import pathlib
import random
import sys

from PIL import Image, ImageChops, ImageDraw, ImageFilter

WIDTH, HEIGHT = 4000, 3000
HORIZON = 2000
WIDTHS = [160, 640, 1280]


def sky():
    column = Image.new("RGB", (1, HORIZON))
    for y in range(HORIZON):
        t = y / HORIZON
        column.putpixel((0, y), (int(40 + 215 * t), int(80 + 100 * t), int(150 - 40 * t)))
    return column.resize((WIDTH, HORIZON))


def ridge(draw, base, height, roughness, colour, rng):
    """One line of mountains: sines of falling wavelength with random phases."""
    waves = [(rng.uniform(0, 2 * math.pi), 1.9 ** k) for k in range(9)]
    points = []
    for x in range(0, WIDTH + 4, 4):
        y = sum(math.sin(p + x * f / 700) / f ** roughness for p, f in waves)
        points.append((x, base - height * (0.5 + 0.4 * y)))
    draw.polygon([(0, HORIZON), *points, (WIDTH, HORIZON)], fill=colour)


def photograph():
    rng = random.Random(4000)
    land = sky()
    draw = ImageDraw.Draw(land)
    draw.ellipse((2700, 1050, 3020, 1370), fill=(255, 244, 214))
    for k in range(6):
        shade = 1 - k / 7
        colour = (int(120 * shade), int(110 * shade + 20), int(140 * shade + 25))
        ridge(draw, 1500 + 85 * k, 620 - 70 * k, 1.05 - 0.03 * k, colour, rng)
    water = land.transpose(Image.Transpose.FLIP_TOP_BOTTOM).resize((WIDTH, HEIGHT - HORIZON))
    water = water.filter(ImageFilter.GaussianBlur(5)).point(lambda v: v * 4 // 5)
    picture = Image.new("RGB", (WIDTH, HEIGHT))
    picture.paste(land, (0, 0))
    picture.paste(water, (0, HORIZON))
    grain = Image.effect_noise((WIDTH // 2, HEIGHT // 2), 24).resize((WIDTH, HEIGHT))
    return ImageChops.overlay(picture, Image.merge("RGB", (grain, grain, grain)))


def encode(picture):
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=88)
    return out.getvalue()


def make(photo, event):
    data = encode(photograph())
    pathlib.Path(photo).write_bytes(data)
    text = base64.b64encode(data).decode()
    pathlib.Path(event).write_text(json.dumps({"image": text, "widths": WIDTHS}))


def save(answer, folder):
    for image in json.loads(pathlib.Path(answer).read_text())["images"]:
        path = pathlib.Path(folder) / f"invoke-{image['width']}.jpg"
        path.write_bytes(base64.b64decode(image["image"]))
        with Image.open(path) as opened:
            width, height = opened.size
        print(f"{path}: {width}x{height}, {path.stat().st_size} bytes")


def main():
    if len(sys.argv) == 4 and sys.argv[1] == "--save":
        save(*sys.argv[2:])
    elif len(sys.argv) == 3:
        make(*sys.argv[1:])
    else:
        sys.exit(__doc__)


main()
