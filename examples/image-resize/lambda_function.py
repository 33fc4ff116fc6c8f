"""Scale a picture down and answer with a JPEG.

Invoked directly:    {"image": "<base64>", "width": 320}  or, for several sizes at once,
                     {"image": "<base64>", "widths": [160, 640]}
By its function URL: POST the picture itself to /?width=320; the answer is the thumbnail.
By an upload:        a picture put into the bucket photos becomes one in the bucket thumbnails.

Needs Pillow, which Debian installs as python3-pil; functions see the host's own packages.
"""
import base64
import binascii
import io
import os
import urllib.parse

from PIL import Image, ImageOps

QUALITY = int(os.environ.get("QUALITY", "85"))
WIDTH = int(os.environ.get("WIDTH", "320"))
THUMBNAILS = os.environ.get("THUMBNAILS", "thumbnails")
WIDTH_MAX = 4096
SIZES_MAX = 8


class BadRequest(Exception):
    """What the caller has to change."""


def read_width(value):
    try:
        width = int(value)
    except (TypeError, ValueError):
        raise BadRequest(f"width must be a number, not {value!r}") from None
    if not 1 <= width <= WIDTH_MAX:
        raise BadRequest(f"width must be from 1 to {WIDTH_MAX}")
    return width


def open_image(data):
    try:
        return Image.open(io.BytesIO(data))
    except Image.DecompressionBombError:
        raise BadRequest("this picture has too many pixels") from None
    except OSError:
        raise BadRequest("this is no picture that Pillow can read") from None


def thumbnail(data, width):
    """(JPEG, width, height); pictures are never made larger than they are."""
    image = open_image(data)
    try:
        # JPEG decodes at 1/2, 1/4 or 1/8 for a fraction of the work; more than enough is left.
        image.draft("RGB", (2 * width, 2 * width))
        image = ImageOps.exif_transpose(image).convert("RGB")
    except OSError as error:
        raise BadRequest(f"this picture is broken: {error}") from None
    width = min(width, image.width)
    height = max(1, round(image.height * width / image.width))
    image = image.resize((width, height), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=QUALITY, optimize=True)
    return out.getvalue(), width, height


def from_url(event):
    body = event.get("body") or ""
    data = base64.b64decode(body) if event.get("isBase64Encoded") else body.encode()
    width = read_width((event.get("queryStringParameters") or {}).get("width", 320))
    jpeg, width, height = thumbnail(data, width)
    print(f"{len(data)} bytes in, {len(jpeg)} bytes out, {width}x{height}")
    return {
        "statusCode": 200,
        "headers": {"Content-Type": "image/jpeg", "X-Image-Size": f"{width}x{height}"},
        "body": base64.b64encode(jpeg).decode(),
        "isBase64Encoded": True,
    }


def direct(event):
    try:
        data = base64.b64decode(event["image"], validate=True)
    except (KeyError, TypeError, binascii.Error):
        raise BadRequest("image must be a picture in base64") from None
    widths = event.get("widths") or [event.get("width", 320)]
    if not isinstance(widths, list) or len(widths) > SIZES_MAX:
        raise BadRequest(f"widths must be a list of at most {SIZES_MAX} numbers")
    images = []
    for wanted in widths:
        jpeg, width, height = thumbnail(data, read_width(wanted))
        print(f"{len(data)} bytes in, {len(jpeg)} bytes out, {width}x{height}")
        images.append({"image": base64.b64encode(jpeg).decode(), "width": width, "height": height})
    return {"images": images} if "widths" in event else images[0]


_s3 = None


def s3():
    """Loaded when it is needed first: direct calls start sooner without it."""
    global _s3
    if not _s3:
        import boto3
        _s3 = boto3.client("s3")
    return _s3


def from_upload(record):
    bucket = record["s3"]["bucket"]["name"]
    key = urllib.parse.unquote_plus(record["s3"]["object"]["key"])
    data = s3().get_object(Bucket=bucket, Key=key)["Body"].read()
    jpeg, width, height = thumbnail(data, WIDTH)
    s3().put_object(Bucket=THUMBNAILS, Key=key, Body=jpeg, ContentType="image/jpeg")
    print(f"{bucket}/{key}: {len(data)} bytes in, {len(jpeg)} bytes out, {width}x{height}")


def lambda_handler(event, context):
    if "Records" in event:
        for record in event["Records"]:
            from_upload(record)
        return {"made": len(event["Records"])}
    if "requestContext" not in event:
        return direct(event)
    try:
        return from_url(event)
    except BadRequest as error:
        return {"statusCode": 400, "headers": {"Content-Type": "text/plain"}, "body": f"{error}\n"}
