"""The Debian package catalogue as records, and a comparison byte by byte.

catalogue.py make AVAILABLE OUT       `apt-cache dumpavail` to JSON lines, a key a field
catalogue.py compare WANTED GOT       exits 1 and says what differs
"""

import json
import sys


def paragraphs(path):
    """Yields each paragraph of a control file as a list of (field, value) pairs of bytes."""
    fields = []
    with open(path, "rb") as lines:
        for line in lines:
            line = line.rstrip(b"\n")
            if not line:
                if fields:
                    yield fields
                fields = []
            elif line[:1] in b" \t" and fields:
                fields[-1][1] += b"\n" + line
            elif b":" in line:
                name, value = line.split(b":", 1)
                fields.append([name, value.strip()])
    if fields:
        yield fields


def text(data):
    """A JSON value for bytes: a string when they are UTF-8, else as drax-cli writes them."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        import base64
        return {"base64": base64.b64encode(data).decode("ascii")}


def raw(value):
    import base64
    return base64.b64decode(value["base64"]) if isinstance(value, dict) else value.encode("utf-8")


def make(source, out):
    records = {}
    packages = 0
    for fields in paragraphs(source):
        name = dict(map(tuple, fields)).get(b"Package")
        if not name:
            continue
        packages += 1
        for field, value in fields:
            records[b"debian/" + name + b"/" + field] = value
    with open(out, "w", encoding="utf-8") as lines:
        for key, value in records.items():
            lines.write(json.dumps({"key": text(key), "value": text(value)}, ensure_ascii=False) + "\n")
    size = sum(len(key) + len(value) for key, value in records.items())
    print(f"{packages} records, {len(records)} keys, {size / 1e6:.1f} MB")


def load(path):
    pairs = {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            pairs[raw(record["key"])] = raw(record["value"])
    return pairs


def compare(wanted_path, got_path):
    wanted, got = load(wanted_path), load(got_path)
    missing = [key for key in wanted if key not in got]
    surplus = [key for key in got if key not in wanted]
    different = [key for key in wanted if key in got and wanted[key] != got[key]]
    print(f"{len(wanted)} keys went in, {len(got)} came out: {len(missing)} missing, "
          f"{len(surplus)} surplus, {len(different)} different")
    for key in (missing + surplus + different)[:5]:
        print("  ", key)
    return 1 if missing or surplus or different else 0


if __name__ == "__main__":
    if len(sys.argv) == 4 and sys.argv[1] == "make":
        sys.exit(make(sys.argv[2], sys.argv[3]))
    if len(sys.argv) == 4 and sys.argv[1] == "compare":
        sys.exit(compare(sys.argv[2], sys.argv[3]))
    sys.exit(__doc__)
