#!/usr/bin/env python3
"""Hostile input: programs, data files, weights and command lines that are wrong in every way we know of.

    tests/hostile.py CNNC [WORD] [--data FOLDER]

Each case must end with its exit status and one message that says what is wrong, within 10 s of the processor and 1 GB, and leave no output behind. `--data` adds the
hostile files of other projects (safetensors, NumPy, PNG, csv-spectrum). WORD selects cases by their names. Standard library only.
"""
import glob, gzip, io, json, os, re, resource, struct, subprocess, sys, tempfile, zipfile, zlib

LIMIT_S, LIMIT_BYTES = 10, 1 << 30
cases = []          # name, files, arguments, exit statuses, pattern of the message


def case(name, args, files=None, rc=3, says=r".", messages=1):
    cases.append((name, args, files or {}, rc if isinstance(rc, tuple) else (rc,), says, messages))


# ---------------------------------------------------------------- programs
def program(name, text, says, rc=1, args=("check", "a.cnn"), messages=1):
    case("cnn: " + name, list(args), {"a.cnn": text}, rc, says, messages)


F = "def f(x: real) -> real = "
program("100,000 parentheses", F + "(" * 100000 + "x" + ")" * 100000, r"nested deeper than 256")
program("100,000 minus signs", F + "-" * 100000 + "x", r"nested deeper than 256")
program("100,000 opening brackets", F + "[" * 100000, r"nested deeper than 256")
program("100,000 ifs", F + "if x > 0 then " * 100000, r"nested deeper than 256")
program("100,000 terms", F + "+".join(["x"] * 100000), r"operators on one another")
program("100,000 pipes", F + "x" + " |> abs" * 100000, r"operators on one another")
program("a name of 10 MB", "def " + "a" * 10_000_000 + "(x: real) -> real = x", r"at most 255")
program("a number of 10 MB", F + "1" * 10_000_000, r"range")
program("a string of 10 MB", 'test "' + "a" * 10_000_000 + '" { expect true }\n' + F + "y", r"unknown")
program("a text of 17 MB", "#" + "a" * 17_000_000, r"16 MiB")
program("definitions in a circle", "def f(x: real) -> real = g(x)\ndef g(x: real) -> real = h(x)\ndef h(x: real) -> real = f(x)\n", r"f|recurs|itself")
program("constants in a circle", "const a = b\nconst b = a\n", r"itself|circle|cycl|depends")
program("models in a circle", "model f[N](x: [N, 2]) -> [N, 2] { return g(x) }\nmodel g[N](x: [N, 2]) -> [N, 2] { return f(x) }\n", r"recurs|itself|circle")
program("import of itself", 'import "a.cnn"\n' + F + "x", r"import|itself", rc=(0, 1))
program("overflow in a shape", "def f(x: [4000000000, 4000000000, 4000000000]) -> real = 1", r"2\^40|64 bits")
program("overflow of dims", "def f[N](x: [N * 9223372036854775807 * 3]) -> real = 1", r"64 bits|N")
program("a dim of 0", "def f[N = 0](x: [N]) -> real = sum(x)", r"at least 1")
program("a dim below 0", "def f[N = -3](x: [N]) -> real = sum(x)", r"at least 1")
program("an extent of 0", "def f(x: [0]) -> real = sum(x)", r"0|at least 1", rc=(0, 1))
program("an extent below 0", "def f(x: [-3]) -> real = sum(x)", r"-3|at least|negative")
program("2^42 elements", F + "sum(fill([2097152, 2097152], x))", r"2\^40")
program("repeated doubling", F.replace("= ", "") + "{\n" + "  a0 = x\n" + "".join(f"  a{k + 1} = a{k} + a{k}\n" for k in range(60)) + "  return a60\n}\n", r".", rc=0, messages=0)
program("repeated doubling of calls", "".join(f"def f{k + 1}(x: real) -> real = f{k}(x) + f{k}(2 * x)\n" for k in range(40)).replace("f0(x)", "x").replace("f0(2 * x)", "x"),
        r"more than 100,000 operations")
program("a list of 2^18 numbers", "const a = [" + ",".join(["1"] * (1 << 18)) + "]\ndef f(x: real) -> real = x * a[0]\n", r".", rc=(0, 1), messages=None)
program("lists within lists", F + "[" * 200 + "x" + "]" * 200, r"axes|rank|nested|real")
program("9 axes", "def f(x: [1,1,1,1,1,1,1,1,1]) -> real = sum(x)", r"8 axes|at most 8|axes")
program("a reserved word as a name", "def f(then: real) -> real = 1", r"reserved")
program("a name of C", "def printf(x: real) -> real = x", r"printf", args=("a.cnn", "-o", "a.so"))
program("a keyword of C", "def volatile(x: real) -> real = x", r"volatile", args=("a.cnn", "-o", "a.so"))
program("not UTF-8", b"def f(x: real) -> real = x # \xff\xfe\n", r"UTF-8|0xFF")
program("half a character", b"def f(x: real) -> real = x # \xc3", r"UTF-8|0xC3")
program("a surrogate", b"# \xed\xa0\x80\n", r"UTF-8|0xED")
program("a NUL", b"def f(x: real)\0 -> real = x\n", r"NUL")
program("a control character", b"def f(x: real) -> real = x \x1b \n", r"control character")
program("UTF-16", "def f(x: real) -> real = x\n".encode("utf-16"), r"UTF-8|0xFF")
program("only a BOM", b"\xef\xbb\xbf", r".", rc=0, messages=0)
program("empty", "", r".", rc=0, messages=0)
program("2,000 errors", "".join(f"def f{k}(x: real) -> real = y{k}\n" for k in range(2000)), r"y0", messages=None)
program("escape sequences in a name of a file", 'import "\x07\x1b[2J.cnn"\n', r"control|cannot read|import", rc=(1, 3))

# ---------------------------------------------------------------- arrays
SUM = {"f.cnn": "def f[N](x: [N]) -> real = sum(x)\ndef g[H, W](x: [H, W]) -> real = sum(x)\n"}


def array(name, file, data, says, fn="f", rc=3, messages=1):
    case(f"{file.split('.')[-1].split(':')[0]}: {name}", ["run", "f.cnn", fn, f"x={file}", "--out", "out.npy"], {**SUM, file.split(":")[0]: data}, rc, says, messages)


def npy(head, body=b"", version=1, length=None):
    head = head if isinstance(head, bytes) else head.encode()
    n = len(head) if length is None else length
    return b"\x93NUMPY" + bytes([version, 0]) + (struct.pack("<H", n & 65535) if version == 1 else struct.pack("<I", n)) + head + body


def head(descr="'<f8'", order="False", shape="(2,)"):
    return "{'descr': %s, 'fortran_order': %s, 'shape': %s, }\n" % (descr, order, shape)


two = struct.pack("<dd", 1, 2)
array("well-formed", "x.npy", npy(head(), two), r".", rc=0, messages=0)
array("column-major", "x.npy", npy(head(order="True", shape="(2, 1)"), two), r".", fn="g", rc=0, messages=0)
array("empty", "x.npy", b"", r"magic")
array("wrong magic", "x.npy", b"\x93NUMPX" + npy(head(), two)[6:], r"magic")
array("version 9", "x.npy", npy(head(), two, version=9), r"version")
array("header past the end", "x.npy", npy(head(), two, length=60000), r"header")
array("header of 4 GB", "x.npy", npy(head(), two, version=2, length=4294967295), r"header")
array("header of 70 KB", "x.npy", npy(head() + " " * 70000, two, version=2), r"header")
array("header is an expression", "x.npy", npy("__import__('os').system('touch out.npy')"), r"header")
array("header is a list", "x.npy", npy("[1, 2]"), r"header")
array("no shape", "x.npy", npy("{'descr': '<f8', 'fortran_order': False, }"), r"header")
array("objects", "x.npy", npy(head("'|O'"), two), r"\|O")
array("big-endian", "x.npy", npy(head("'>f8'"), two), r">f8")
array("structured", "x.npy", npy(head("[('a', '<f8'), ('b', '<f8')]"), two), r"element type|header")
array("shape overflows", "x.npy", npy(head(shape="(4294967296, 4294967296, 4294967296)"), two), r"overflow|size|elements")
array("negative shape", "x.npy", npy(head(shape="(-2,)"), two), r"header|shape")
array("trailing bytes", "x.npy", npy(head(), two + b"x"), r"size|match")
array("too short", "x.npy", npy(head(), two[:-1]), r"size|match")
array("40 axes", "x.npy", npy(head(shape="(" + "1," * 40 + ")"), two[:8]), r"header|axes")
array("half precision", "x.npy", npy(head("'<f2'"), two[:4]), r"<f2. is none of .* reals of 4 or 8 bytes")
array("complex", "x.npy", npy(head("'<c16'"), two), r"<c16")


def npz(*names, bodies=None, method=zipfile.ZIP_STORED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as z:
        for k, name in enumerate(names):
            with z.open(name + ".npy", "w", force_zip64=True) as f: # as numpy.savez does
                f.write(bodies[k] if bodies else npy(head(), two))
    return out.getvalue()


def npz_with(at, value, size=4, part=b"PK\1\2", data=npz("a")):
    where = data.rfind(part) + at
    return data[:where] + value.to_bytes(size, "little") + data[where + size:]


array("well-formed", "x.npz", npz("a"), r".", rc=0, messages=0)
array("deflated", "x.npz", npz("a", method=zipfile.ZIP_DEFLATED), r".", rc=0, messages=0)
array("two arrays", "x.npz", npz("a", "b"), r"say which.*`a`, `b`")
array("another name", "x.npz:b", npz("a"), r"no array `b`; it has `a`")
array("a name", "x.npz:b", npz("a", "b"), r".", rc=0, messages=0)
array("empty", "x.npz", b"", r"directory")
array("no arrays", "x.npz", npz(), r"holds no array\n")
array("no arrays", "x.npz:a", npz(), r"holds no array\n")
array("truncated", "x.npz", npz("a")[:-30], r"directory")
array("garbage in front", "x.npz", b"garbage" + npz("a"), r"directory")
array("no .npy in it", "x.npz", npz("a", bodies=[b"hello"]), r"magic")
array("directory past the end", "x.npz", npz_with(16, 0xfffffff0, part=b"PK\5\6"), r"directory")
array("directory beyond 4 GB", "x.npz", npz_with(16, 0xffffffff, part=b"PK\5\6"), r"directory")
array("more entries than there are", "x.npz", npz_with(10, 7, 2, part=b"PK\5\6"), r"directory")
array("a name of 64 KB", "x.npz", npz_with(28, 0xffff, 2), r"directory")
array("a size of 4 GB", "x.npz", npz_with(24, 0xfffffff0), r"a size")
array("a size of 64 bits that is not there", "x.npz", npz_with(24, 0xffffffff), r"size|directory")
array("packed past the end", "x.npz", npz_with(20, 0xfffffff0), r"a size")
array("local header past the end", "x.npz", npz_with(42, 0xfffffff0), r"directory")
array("another compression", "x.npz", npz_with(10, 14, 2), r"deflate")
array("encrypted", "x.npz", npz_with(8, 1, 2), r"encrypted")
array("wrong checksum", "x.npz", npz_with(16, 12345), r"checksum")
array("damaged deflate", "x.npz", npz_with(30 + 40, 0xffffffff, part=b"PK\3\4", data=npz("a", method=zipfile.ZIP_DEFLATED)), r"checksum|damaged")
array("a bomb", "x.npz", npz("a", bodies=[npy(head(shape="(500000000,)"), b"") + bytes(50_000_000)], method=zipfile.ZIP_DEFLATED), r"size")


def idx(*dims, kind=8, data=b"", rank=None, magic=0):
    return struct.pack(">HBB", magic, kind, len(dims) if rank is None else rank) + b"".join(struct.pack(">I", d) for d in dims) + data


abc = idx(3, data=b"abc")
array("well-formed", "x.idx", abc, r".", rc=0, messages=0)
array("empty", "x.idx", b"", r"two zero bytes|empty")
array("wrong magic", "x.idx", idx(3, data=b"abc", magic=7), r"two zero bytes")
array("unknown type", "x.idx", idx(3, kind=0x7f, data=b"abc"), r"0x7f")
array("rank 0", "x.idx", idx(rank=0), r"rank")
array("rank 255", "x.idx", idx(*[1] * 255), r"rank")
array("dims overflow", "x.idx", idx(*[4294967295] * 4), r"overflow|elements|promises")
array("10^9 images in 1 KB", "x.idx", idx(10**9, 28, 28, data=b"a" * 1000), r"promises more")
array("ends in its header", "x.idx", abc[:6], r"header")
array("too short", "x.idx", abc[:-1], r"promises|ends")
array("too long", "x.idx", abc + b"d", r"follow")
z = gzip.compress(abc, mtime=0)
array("gzip", "x.gz", z, r".", rc=0, messages=0)
array("gzip, two members", "x.gz", gzip.compress(abc[:5]) + gzip.compress(abc[5:]), r".", rc=0, messages=0)
array("gzip, wrong CRC", "x.gz", z[:-8] + bytes([z[-8] ^ 1]) + z[-7:], r"checksum|ends")
array("gzip, wrong size", "x.gz", z[:-1] + b"\x01", r"checksum|ends")
array("gzip, truncated", "x.gz", z[:-10], r"checksum|ends|promises")
array("gzip, garbage behind", "x.gz", z + b"garbage", r"checksum|follow")
array("gzip bomb", "x.gz", gzip.compress(idx(3, data=b"\0" * 50_000_000), mtime=0), r"checksum|follow")
array("gzip of nothing", "x.gz", gzip.compress(b""), r"two zero bytes|ends")
array("gzip header alone", "x.gz", b"\x1f\x8b\x08", r"two zero bytes|ends|zlib")

FIT = {"e.cnn": "estimator e[N] {\n  data x: [N, 2]\n  data y: index(3)[N]\n  param w: [2, 3]\n  y ~ Categorical(logit = x @ w)\n}\n"}


def fit(name, x, y, says, rc=3):
    case("labels: " + name, ["fit", "e.cnn", "--data", "x=x.csv", "--data", "y=y.idx", "--save", "out.safetensors"], {**FIT, "x.csv": x, "y.idx": y}, rc, says)


rows = "a,b\n" + "".join(f"{k},{k * k % 5}\n" for k in range(6))
fit("a label that is no class", rows, idx(6, data=bytes([0, 1, 2, 3, 1, 0])), r"0 \.\. 2|outside")
fit("fewer labels than rows", rows, idx(5, data=bytes([0, 1, 2, 0, 1])), r"5|6")
fit("labels of two axes", rows, idx(3, 2, data=bytes(6)), r"shape|axes|\[3, 2\]")


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(w=2, h=2, depth=8, color=0, data=None, interlace=0, before=b"", after=b"", order="hdi"):
    ihdr = chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, depth, color, 0, 0, interlace))
    data = zlib.compress(b"".join(b"\0" + bytes(w) for _ in range(min(h, 64)))) if data is None else data
    return b"\x89PNG\r\n\x1a\n" + ihdr + before + (chunk(b"IDAT", data) if data else b"") + after + chunk(b"IEND", b"")


array("well-formed", "x.png", png(), r".", fn="g", rc=0, messages=0)
array("16 bits", "x.png", png(depth=16, data=zlib.compress((b"\0" + bytes(4)) * 2)), r".", fn="g", rc=0, messages=0)
array("empty", "x.png", b"", r"image", fn="g")
array("width 0", "x.png", png(w=0, data=zlib.compress(b"\0\0")), r"image", fn="g")
array("height 0", "x.png", png(h=0, data=zlib.compress(b"\0\0\0")), r"image", fn="g")
array("width * height overflows", "x.png", png(w=0x7fffffff, h=0x7fffffff, data=zlib.compress(b"\0")), r"image", fn="g")
array("more pixels than the limit", "x.png", png(w=1000000, h=1000, data=zlib.compress(b"\0")), r"2\^28|image", fn="g")
array("no IDAT", "x.png", png(data=b""), r"image", fn="g")
array("IDAT too short", "x.png", png(data=zlib.compress(b"\0\0")), r"image", fn="g")
array("a palette index out of range", "x.png", png(color=3, data=zlib.compress(b"\0\7\7\0\7\7"), before=chunk(b"PLTE", b"\0\0\0")), r"image|.", fn="g", rc=(0, 3), messages=None)
array("a palette that is missing", "x.png", png(color=3), r"image", fn="g")
array("IDAT before IHDR", "x.png", png()[:8] + chunk(b"IDAT", b"") + png()[8:], r"image", fn="g")
array("truncated", "x.png", png()[:-14], r"image", fn="g", rc=(0, 3), messages=None)
array("a wrong CRC", "x.png", png()[:30] + bytes([png()[30] ^ 1]) + png()[31:], r"image", fn="g")
array("pgm, too short", "x.pgm", b"P5 4 4 255\nabc", r"size", fn="g")
array("pgm, size overflows", "x.pgm", b"P5 999999999 999999999 255\nabc", r"size", fn="g")
array("pgm, no header", "x.pgm", b"P5", r"P5|header", fn="g")
array("pgm, 16 bits", "x.pgm", b"P5 1 1 65535\nab", r"header", fn="g")

# ---------------------------------------------------------------- tables
def table(name, text, says, columns=":a", rc=3, messages=1):
    text = text if isinstance(text, bytes) else text.encode()
    case("csv: " + name, ["run", "f.cnn", "f", "x=x.csv" + columns, "--out", "out.npy"], {**SUM, "x.csv": text}, rc, says, messages)


table("well-formed", "a,b\n1,2\n3,4\n", r".", rc=0, messages=0)
table("empty", "", r"empty|header|row")
table("header alone", "a,b\n", r"row|empty|0")
table("a short row", "a,b\n1,2\n3\n", r"row 3")
table("a long row", "a,b\n1,2\n3,4,5\n", r"row 3")
table("empty lines", "a\n\n1\n\n2\n\n", r".", rc=0, messages=0)
table("NUL bytes", b"a\n1\0\n2\n", r"row 2")
table("a line of 20 MB", "a\n" + "x" * 20_000_000 + "\n", r"row 2")
table("CR alone", "a\r1\r2\r", r".", rc=0, messages=0)
table("a BOM", b"\xef\xbb\xbfa\n1\n2\n", r".", rc=0, messages=0)
table("1e999 is inf", "a\n1e999\n", r".", rc=0, messages=0)
table("nan", "a\n1\nnan\n", r"row 3")
table("inf", "a\ninf\n", r".", rc=0, messages=0)
table("hexadecimal", "a\n0x1p3\n", r"row 2")
table("a decimal comma", "a\n1,5\n", r"row 2")
table("a text", "a\n1\nabc\n", r"row 3")
table("a quote that is not closed", 'a\n"1\n2\n', r"quote")
table("text behind a quote", 'a\n"1"2\n', r"quote")
table("no such column", "a,b\n1,2\n", r"column `c`", columns=":c")
table("a million columns", ",".join(f"c{k}" for k in range(1_000_000)) + "\n" + ",".join("1" * 1_000_000) + "\n", r".", columns=":c7", rc=0, messages=0)
table("not UTF-8", b"a\n\xff\n", r"row 2")
table("escape sequences in a cell", "a\n\x1b[31m\n", r"row 2")

# ---------------------------------------------------------------- weights
MODEL = {"m.cnn": "model m[N](x: [N, 2]) -> [N, 3] {\n  return x |> dense(3)\n}\n"}


def weights(name, data, says, rc=3, messages=1):
    case("safetensors: " + name, ["run", "m.cnn", "m", "x=[[1, 2]]", "--weights", "w.safetensors", "--out", "out.npy"],
         {**MODEL, "w.safetensors": data}, rc, says, messages)


def tensors(header, data=b"", length=None):
    header = header if isinstance(header, bytes) else (header if isinstance(header, str) else json.dumps(header)).encode()
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def entry(dtype="F32", shape=(2, 3), start=0, end=24):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}


good = {"w": entry(), "b": entry(shape=(3,), start=24, end=36)}
raw = bytes(36)
weights("well-formed", tensors(good, raw), r".", rc=0, messages=0)
weights("empty", b"", r"header")
weights("length 0", tensors("", raw), r"header")
weights("length past the end", tensors(good, raw, length=10**6), r"header")
weights("header of 200 MB", tensors(good, raw, length=200 * 10**6), r"header")
weights("header of 2^63", tensors(good, raw, length=1 << 63), r"header")
weights("not an object", tensors("[1]", raw), r"header")
weights("not UTF-8", tensors(b'{"\xff": 1}', raw), r"UTF-8|decode|header")
weights("bad JSON", tensors('{"w": ', raw), r"safetensors")
weights("a key twice", tensors('{"w":' + json.dumps(entry()) + ',"w":' + json.dumps(entry()) + "}", raw), r"[Dd]uplicate")
weights("unknown dtype", tensors({**good, "w": entry("F99")}, raw), r"F99")
weights("negative extent", tensors({**good, "w": entry(shape=(-2, -3))}, raw), r"shape")
weights("fraction as an extent", tensors({**good, "w": entry(shape=(2.5, 3))}, raw), r"shape")
weights("exponent as an extent", tensors(json.dumps(good).replace("[2, 3]", "[2e0, 3]"), raw), r"shape")
weights("an extent above 2^63", tensors(json.dumps(good).replace("[2, 3]", "[99999999999999999999, 3]"), raw), r"safetensors")
weights("offsets reversed", tensors({**good, "w": entry(start=24, end=0)}, raw), r"offsets")
weights("offsets overlap", tensors({**good, "b": entry(shape=(3,), start=12, end=24)}, raw[:24]), r"overlap|holes")
weights("a hole", tensors({**good, "b": entry(shape=(3,), start=28, end=40)}, bytes(40)), r"holes")
weights("offsets past the end", tensors(good, raw[:-4]), r"offsets")
weights("bytes behind", tensors(good, raw + b"PK"), r"holes|go on")
weights("shape overflows", tensors({**good, "w": entry(shape=(1 << 40, 1 << 40))}, raw), r"shape")
weights("size is not the shape's", tensors({**good, "w": entry(shape=(2, 4))}, raw), r"match")
weights("metadata in metadata", tensors({**good, "__metadata__": {"a": {"b": "c"}}}, raw), r"__metadata__")
weights("100,000 tensors more", tensors({**good, **{f"t{k}": entry(shape=(0,), start=36, end=36) for k in range(100_000)}}, raw), r".", rc=(0, 3), messages=None)
weights("a name like a path", tensors({**good, "../../etc/passwd": entry(shape=(0,), start=36, end=36)}, raw), r".", rc=(0, 3), messages=None)
weights("deep JSON", tensors('{"w":' + "[" * 100000 + "]" * 100000 + "}", raw), r"safetensors")
weights("a tensor that is missing", tensors({"w": entry()}, raw[:24]), r"\bb\b")
weights("another shape", tensors({"w": entry(shape=(3, 2)), "b": good["b"]}, raw), r"\[3, 2\]|\[2, 3\]")

# ---------------------------------------------------------------- command lines
ONE = "def f(x: real) -> real = 2 * x\n"
for odd in ["a b.cnn", "a'b.cnn", 'a"b.cnn', "a;b.cnn", "$(touch pwned).cnn", "a\nb.cnn", "a%sb.cnn", "\u00e4\u2211.cnn"]:
    case(f"name: {odd!r}", [odd, "-o", odd[:-4] + ".so"], {odd: ONE}, 0, r".", messages=0)
case("name: leading dash", ["--", "-a.cnn"], {"-a.cnn": ONE}, 2, r"say where")
case("name: leading dash, check", ["check", "./-a.cnn"], {"-a.cnn": ONE}, 0, r".", messages=0)
case("name: escape sequences", ["check", "\x1b[31m.cnn"], {}, 3, r"cannot read")
case("output: the source", ["a.cnn", "-o", "a.cnn"], {"a.cnn": ONE}, 2, r".")
case("output: a folder", ["a.cnn", "-o", "d.so"], {"a.cnn": ONE, "d.so/x": ""}, 3, r"folder")
case("output: no such folder", ["a.cnn", "-o", "no/where.so"], {"a.cnn": ONE}, 3, r"no/where|No such")
case("output: a full device", ["run", "a.cnn", "f", "x=1", "--out", "/dev/full"], {"a.cnn": ONE}, 3, r"/dev/full|space")
case("output: no suffix", ["a.cnn", "-o", "out"], {"a.cnn": ONE}, 2, r"suffix")
case("input: a folder", ["check", "d.cnn"], {"d.cnn/x": ""}, 3, r"directory|folder")
case("input: nothing there", ["check", "nothing.cnn"], {}, 3, r"nothing\.cnn")
case("argument: 1 MB", ["run", "a.cnn", "f", "x=" + "[" * 100000], {"a.cnn": ONE}, 3, r"number|list")
case("argument: no such name", ["run", "a.cnn", "f", "y=1"], {"a.cnn": ONE}, 2, r"`?y`?")


def foreign(folder):
    """Hostile files of other projects: a message, or a value."""
    for path in sorted(glob.glob(folder + "/malformed/safetensors/*")):
        ok = os.path.basename(path).startswith("accept")
        weights("file " + os.path.basename(path), open(path, "rb").read(), r"tensor|param|`[wb]`" if ok else r"safetensors")
    for path in sorted(glob.glob(folder + "/malformed/npy/*")):
        array("file " + os.path.basename(path), "x.npy", open(path, "rb").read(), r"npy")
    for path in sorted(glob.glob(folder + "/png/**/*.png", recursive=True)):
        array("file " + os.path.basename(path), "x.png", open(path, "rb").read(), r"image|shape|axes", fn="g", rc=(0, 3), messages=None)
    for path in sorted(glob.glob(folder + "/csv-spectrum/**/*.csv", recursive=True)):
        table("file " + os.path.basename(path), open(path, "rb").read(), r"x\.csv", columns="", rc=(0, 3), messages=None)


def limits():
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES * 4, LIMIT_BYTES * 4))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def spent():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def run(cnnc, name, args, files, rcs, says, messages):
    with tempfile.TemporaryDirectory() as d:
        for path, text in files.items():
            full = os.path.join(d, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "wb") as f:
                f.write(text if isinstance(text, bytes) else text.encode())
        before = {os.path.join(r, f) for r, _, fs in os.walk(d) for f in fs}
        start = spent()
        try: # the machine may have more to do than this: only seconds of the processor count
            p = subprocess.run([cnnc, *args], cwd=d, capture_output=True, stdin=subprocess.DEVNULL, timeout=30 * LIMIT_S, preexec_fn=limits)
        except subprocess.TimeoutExpired:
            return f"longer than {30 * LIMIT_S} s"
        seconds = spent() - start
        err = p.stderr.decode("utf-8", "replace")
        left = {os.path.join(r, f) for r, _, fs in os.walk(d) for f in fs} - before
        n = len(re.findall(r"^error\[", err, re.M))
        if p.returncode not in rcs:
            return f"exit status {p.returncode}, not {rcs}: {err[:300]!r}"
        if "internal error" in err or "out of memory" in err:
            return f"says {err[:300]!r}"
        if p.returncode and messages is not None and n != messages:
            return f"{n} messages, not {messages}: {err[:600]!r}"
        if p.returncode and not re.search(says, err):
            return f"does not say {says!r}: {err[:300]!r}"
        if any(ord(c) < 32 and c not in "\n\t" for c in err) or len(err) > 100_000:
            return f"control characters, or {len(err)} bytes of messages: {err[:300]!r}"
        if p.returncode and left:
            return f"leaves {sorted(left)}"
        if os.path.exists(os.path.join(d, "pwned")):
            return "a shell ran"
        return None if seconds < LIMIT_S else f"{seconds:.1f} s"


def main():
    args = sys.argv[1:]
    if "--data" in args:
        at = args.index("--data")
        foreign(args[at + 1])
        del args[at:at + 2]
    cnnc, word = os.path.abspath(args[0]), args[1] if len(args) > 1 else ""
    passed = failed = 0
    for c in cases:
        if word not in c[0]:
            continue
        fault = run(cnnc, *c)
        passed += fault is None
        failed += fault is not None
        if fault:
            print(f"FAIL {c[0]}: {fault}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
