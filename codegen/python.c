/* --emit=py: the entries of a library for Python, by ctypes and NumPy. What differs between
 * libraries is a table; the code that reads it is the same everywhere and stands first in the file.
 * Dims and sizes are formulas in both languages. */
#include "codegen/codegen.h"

static const char runtime[] =
    "import ctypes, os\n"
    "import numpy as np\n"
    "\n"
    "\n"
    "class Exec(ctypes.Structure):\n"
    "    _fields_ = [('threads', ctypes.c_int), ('self', ctypes.c_void_p), ('stop', "
    "ctypes.c_void_p), ('run', ctypes.c_void_p)]\n"
    "\n"
    "\n"
    "class FitInfo(ctypes.Structure):\n"
    "    _fields_ = [('size', ctypes.c_size_t), ('method', ctypes.c_int), ('iterations', "
    "ctypes.c_int), ('observations', ctypes.c_int64),\n"
    "                ('where', ctypes.c_int64)] + [(n, ctypes.c_double) for n in ('loglik', "
    "'logprior', 'grad_norm', 's2', 'df', 'r2')]\n"
    "\n"
    "\n"
    "def _value(formula, dims):\n"
    "    try:\n"
    "        return eval(formula.replace('max(', 'max__('), {'__builtins__': {}, 'max__': max}, dims)\n"
    "    except NameError as e:\n"
    "        raise TypeError(f'the dim {e.name} does not follow from the arguments: pass "
    "{e.name}=...') from None\n"
    "\n"
    "\n"
    "def _bind(dims, name, array, shape):\n"
    "    \"\"\"Dims that stand alone in an axis, or with a factor, are those of the array.\"\"\"\n"
    "    if array.ndim != len(shape):\n"
    "        raise ValueError(f'{name} has the shape {array.shape}, not [{\", \".join(shape)}]')\n"
    "    for n, axis in zip(array.shape, shape):\n"
    "        factor, _, dim = axis.rpartition('*')\n"
    "        if dim.isidentifier() and (not factor or factor.isdigit()) and n % int(factor or 1) "
    "== 0:\n"
    "            dims.setdefault(dim, n // int(factor or 1))\n"
    "\n"
    "\n"
    "def _input(name, value, dtype):\n"
    "    \"\"\"As the entry reads it; reals may lose digits, nothing else is lost.\"\"\"\n"
    "    given = np.asarray(value)\n"
    "    if given.dtype.kind not in 'biufO':\n"
    "        raise TypeError(f'{name} has elements of {given.dtype}, not of {np.dtype(dtype)}')\n"
    "    with np.errstate(invalid='ignore'):\n"
    "        array = np.ascontiguousarray(given, dtype)\n"
    "    if array.dtype.kind != 'f' and not (array == given).all():\n"
    "        raise ValueError(f'{name} holds a value that is no {array.dtype}')\n"
    "    return array\n"
    "\n"
    "\n"
    "class _Hyper:\n"
    "    common = [('size', ctypes.c_size_t, 0), ('prior', ctypes.c_double, 1.0), ('n_total', "
    "ctypes.c_int64, 0), ('epoch', ctypes.c_int64, 0),\n"
    "              ('seed', ctypes.c_uint64, 0)]\n"
    "\n"
    "    def __init__(self, formals):\n"
    "        fields = self.common + [(n, ctypes.c_int64 if is_int else ctypes.c_double, v) for n, "
    "is_int, v in formals]\n"
    "        self.defaults = {n: v for n, _, v in fields}\n"
    "        self.type = type('Hyper', (ctypes.Structure,), {'_fields_': [(n, t) for n, t, _ in "
    "fields]})\n"
    "\n"
    "    def take(self, keywords):\n"
    "        h = self.type(**{n: keywords.pop(n, v) for n, v in self.defaults.items()})\n"
    "        h.size = ctypes.sizeof(h)\n"
    "        return h\n"
    "\n"
    "\n"
    "def _call(entry, arrays, keywords):\n"
    "    args, work, hyper = entry['args'], entry['work'], entry['hyper']\n"
    "    dims, held, given = {}, {}, list(arrays)\n"
    "    names = [a[1] for a in args if a[0] in ('input', 'scalar', 'seed')]\n"
    "    if len(given) > len(names):\n"
    "        raise TypeError(f'{entry[\"name\"]} takes {len(names)} arguments: {\", "
    "\".join(names)}')\n"
    "    values = dict(zip(names, given))\n"
    "    for kind, name, dtype, shape in args:\n"
    "        if kind in ('input', 'scalar', 'seed', 'params', 'state', 'opt', 'dim') and name not "
    "in values and name in keywords:\n"
    "            values[name] = keywords.pop(name)\n"
    "        if kind == 'dim' and name in values:\n"
    "            dims[name] = int(values[name])\n"
    "        if kind == 'input' and name not in values:\n"
    "            raise TypeError(f'{entry[\"name\"]}: {name} is missing')\n"
    "        if kind == 'input':\n"
    "            held[name] = _input(name, values[name], dtype)\n"
    "            _bind(dims, name, held[name], shape)\n"
    "    h = _Hyper(hyper).take(keywords) if hyper is not None else None\n"
    "    if keywords:\n"
    "        raise TypeError(f'{entry[\"name\"]} knows no {\", \".join(keywords)}')\n"
    "    c, out, fit = [], {}, any(a[0] == 'info' for a in args)\n"
    "    for kind, name, dtype, shape in args:\n"
    "        if kind == 'dim':\n"
    "            c.append(ctypes.c_int64(_value(name, dims)))\n"
    "            continue\n"
    "        if kind in ('exec', 'hyper', 'work', 'seed', 'scalar', 'info'):\n"
    "            if kind == 'work':\n"
    "                held['work'] = np.empty(max(1, _value(work, dims)), np.uint8)\n"
    "                c.append(held['work'].ctypes.data_as(ctypes.c_void_p))\n"
    "            elif kind == 'info':\n"
    "                out['info'] = FitInfo(size=ctypes.sizeof(FitInfo))\n"
    "                c.append(ctypes.byref(out['info']))\n"
    "            elif kind == 'scalar':\n"
    "                if name not in values:\n"
    "                    raise TypeError(f'{entry[\"name\"]}: {name} is missing')\n"
    "                c.append((ctypes.c_double if dtype[0] == 'f' else "
    "ctypes.c_int64)(values[name]))\n"
    "            else:\n"
    "                c.append(ctypes.c_uint64(values.get(name, 0)) if kind == 'seed' else "
    "ctypes.byref(h) if kind == 'hyper' else None)\n"
    "            continue\n"
    "        want = tuple(_value(s, dims) for s in shape)\n"
    "        if kind == 'input':\n"
    "            a = held[name]\n"
    "        elif kind in ('params', 'state', 'opt') and name in values and not fit:\n"
    "            a = values[name]\n"
    "            if not isinstance(a, np.ndarray) or a.dtype != np.dtype(dtype) or not "
    "a.flags.c_contiguous:\n"
    "                raise TypeError(f'{name} is read and written in place: it has to be a "
    "contiguous array of {np.dtype(dtype)}')\n"
    "        elif kind in ('params', 'state', 'opt') and entry['kind'] != 'init':\n"
    "            if not fit:\n"
    "                raise TypeError(f'{entry[\"name\"]}: {name}= is missing')\n"
    "            if name not in values:\n"
    "                raise TypeError(f'{entry[\"name\"]}: {name}= is missing: the start, from "
    "{entry[\"name\"][:-4]}_init')\n"
    "            a = out[name] = np.array(values[name], dtype)\n"
    "        else:\n"
    "            a = out[name] = np.zeros(want, dtype)\n"
    "        if a.shape != want:\n"
    "            raise ValueError(f'{name} has the shape {a.shape}, not {want}')\n"
    "        held['_' + name] = a\n"
    "        c.append(a.ctypes.data_as(ctypes.c_void_p))\n"
    "    code = getattr(_library, entry['name'])(*c)\n"
    "    if code < 0 or (code and not fit):\n"
    "        raise RuntimeError(_strerror(code).decode())\n"
    "    if fit:\n"
    "        out['code'] = code\n"
    "        return out\n"
    "    results = [v[()] if v.ndim == 0 else v for v in out.values()]\n"
    "    return results[0] if len(results) == 1 else tuple(results) if results else None\n"
    "\n"
    "\n"
    "def _export(entry):\n"
    "    def call(*arrays, **keywords):\n"
    "        return _call(entry, arrays, keywords)\n"
    "    call.__name__ = call.__qualname__ = entry['name']\n"
    "    call.__doc__ = entry['doc']\n"
    "    getattr(_library, entry['name']).restype = ctypes.c_int\n"
    "    globals()[entry['name']] = call\n"
    "\n"
    "\n"
    "def opt_bytes(estimator, **dims):\n"
    "    \"\"\"Length of the array of bytes that NAME_step takes as opt: zeros are fresh.\"\"\"\n"
    "    return _value(OPT_BYTES[estimator], dims)\n"
    "\n"
    "\n"
    "def tensors(block, params, **dims):\n"
    "    \"\"\"Views of the tensors in `params` by their names.\"\"\"\n"
    "    views = {}\n"
    "    for name, offset, shape in BLOCKS[block]:\n"
    "        at, size = _value(offset, dims), tuple(_value(s, dims) for s in shape)\n"
    "        views[name] = params[at:at + int(np.prod(size))].reshape(size)\n"
    "    return views\n";

static const char *numpy_type(DType dt) {
    switch (dt) {
    case DT_BOOL:
        return "u1";
    case DT_I32:
        return "i4";
    case DT_I64:
        return "i8";
    case DT_F32:
        return "f4";
    default:
        return "f8";
    }
}

static const char *kind_name(AbiArgKind k) {
    static const char *const names[] = {
        [ARG_EXEC] = "exec",     [ARG_HYPER] = "hyper",   [ARG_DIM] = "dim",
        [ARG_SEED] = "seed",     [ARG_SCALAR] = "scalar", [ARG_INPUT] = "input",
        [ARG_PARAMS] = "params", [ARG_STATE] = "state",   [ARG_OPT] = "opt",
        [ARG_OUT] = "out",       [ARG_LOSS] = "loss",     [ARG_GRAD] = "grad",
        [ARG_VALUES] = "values", [ARG_LOGP] = "logp",     [ARG_COV] = "cov",
        [ARG_INFO] = "info",     [ARG_WORK] = "work"};
    return names[k];
}

static void put_shape(Ctx *ctx, StrBuf *sb, const Dim *shape, int rank) {
    sb_putc(sb, '(');
    for (int k = 0; k < rank; k++)
        sb_printf(sb, "'%s'%s", dim_text(ctx, shape[k]),
                  rank == 1      ? ","
                  : k + 1 < rank ? ", "
                                 : "");
    sb_putc(sb, ')');
}

static const LoopBuf *buf_of(const LoopFunc *f, int arg) {
    for (int k = 0; k < f->bufs.n; k++)
        if (f->bufs.p[k]->kind == BUF_ARG && f->bufs.p[k]->arg == arg)
            return f->bufs.p[k];
    return NULL;
}

/* (kind, name, element type, shape): arrays of several tensors are vectors, or bytes. */
/* Bytes of several tensors as a number of elements. */
static const char *count_of(Ctx *ctx, const AbiArg *a) {
    return str_fmt(ctx, "(%s)//%zu", dim_text(ctx, a->bytes), dtype_size(a->dt));
}

/* What an argument's array looks like: arrays of several tensors are vectors, or bytes. */
static void put_arg_shape(Ctx *ctx, StrBuf *sb, const LoopFunc *f, int arg) {
    const AbiArg *a = &f->entry->args.p[arg], *params = NULL;
    const LoopBuf *b = buf_of(f, arg);
    for (int k = 0; k < f->entry->args.n; k++)
        params = f->entry->args.p[k].kind == ARG_PARAMS ? &f->entry->args.p[k] : params;
    switch (a->kind) {
    case ARG_INPUT:
    case ARG_OUT:
        put_shape(ctx, sb, b ? b->shape : NULL, b ? b->rank : 0);
        break;
    case ARG_PARAMS:
    case ARG_STATE:
    case ARG_GRAD:
    case ARG_VALUES:
        sb_printf(sb, "('%s',)", count_of(ctx, a));
        break;
    case ARG_OPT:
        put_shape(ctx, sb, &a->bytes, 1);
        break;
    case ARG_COV:
        sb_printf(sb, "('%s', '%s')", count_of(ctx, params), count_of(ctx, params));
        break;
    default:
        sb_put(sb, "()");
    }
}

/* (kind, name, element type, shape) */
static void put_arg(Ctx *ctx, StrBuf *sb, const LoopFunc *f, int arg) {
    const AbiArg *a = &f->entry->args.p[arg];
    sb_printf(sb, "        ('%s', '%s', '%s', ", kind_name(a->kind), a->name,
              a->kind == ARG_OPT ? "u1" : numpy_type(a->dt));
    put_arg_shape(ctx, sb, f, arg);
    sb_put(sb, "),\n");
}

static void put_text(StrBuf *sb, const char *text) {
    sb_putc(sb, '\'');
    for (; text && *text; text++) {
        if (*text == '\'' || *text == '\\')
            sb_putc(sb, '\\');
        if (*text == '\n')
            sb_put(sb, "\\n");
        else
            sb_putc(sb, *text);
    }
    sb_putc(sb, '\'');
}

static const AbiBlock *block_of(const LoopModule *m, Str decl) {
    for (int k = 0; k < m->blocks.n; k++)
        if (m->blocks.p[k]->name == decl)
            return m->blocks.p[k];
    return NULL;
}

static void put_hyper(StrBuf *sb, const LoopModule *m, const AbiEntry *e) {
    const AbiBlock *b = block_of(m, e->decl);
    bool any = false;
    for (int k = 0; k < e->args.n; k++)
        any |= e->args.p[k].kind == ARG_HYPER;
    if (!any || !b) {
        sb_put(sb, "None");
        return;
    }
    sb_putc(sb, '[');
    for (int k = 0; k < b->formals.n; k++)
        sb_printf(sb, "%s('%s', %s, %.17g)", k ? ", " : "", b->formals.p[k].name,
                  b->formals.p[k].is_int ? "True" : "False", b->formals.p[k].value);
    sb_putc(sb, ']');
}

static void put_entry(Ctx *ctx, StrBuf *sb, const LoopModule *m, const LoopFunc *f) {
    const AbiEntry *e = f->entry;
    sb_printf(sb, "_export({'name': '%s', 'kind': '%s', 'work': '%s', 'hyper': ", e->cname,
              e->kind == ENTRY_INIT ? "init" : "call",
              e->work_bytes ? dim_text(ctx, e->work_bytes) : "0");
    put_hyper(sb, m, e);
    sb_put(sb, ", 'doc': ");
    put_text(sb, e->doc ? e->doc : "");
    sb_put(sb, ",\n    'args': [\n");
    for (int k = 0; k < e->args.n; k++)
        put_arg(ctx, sb, f, k);
    sb_put(sb, "    ]})\n");
}

const char *codegen_python(Ctx *ctx, const LoopModule *m, const char *base, const char *sha256,
                           const char *library) {
    StrBuf sb = sb_new(&ctx->perm);
    sb_printf(&sb,
              "\"\"\"%s for Python, generated by cnnc " CNNC_VERSION
              " from %s (sha256 %s); do not edit.\n\n"
              "A function for each entry of %s.h: inputs by position or name, parameters and "
              "hyperparameters by name. Results are returned;\n"
              "dims follow from the arrays, or are given by name. `tensors(block, params)` names "
              "what is in `params`.\n\"\"\"\n",
              library, m->source, sha256, base);
    sb_put(&sb, runtime);
    sb_put(&sb, "\n\n_library = ctypes.CDLL(os.path.join(os.path.dirname(os.path.abspath(__file__)), ");
    put_text(&sb, library);
    sb_put(&sb, "))\n");
    sb_printf(
        &sb,
        "_strerror = _library.%s_strerror\n_strerror.restype = ctypes.c_char_p\n\nBLOCKS = {\n",
        base);
    for (int k = 0; k < m->blocks.n; k++) {
        const AbiBlock *b = m->blocks.p[k];
        sb_printf(&sb, "    '%s': [\n", b->name);
        for (int j = 0; j < b->params.n; j++) {
            const AbiTensor *t = &b->params.p[j];
            sb_printf(&sb, "        ('%s', '%s', ", t->path, dim_text(ctx, t->offset));
            put_shape(ctx, &sb, t->type.shape, t->type.rank);
            sb_put(&sb, "),\n");
        }
        sb_put(&sb, "    ],\n");
    }
    sb_put(&sb, "}\nOPT_BYTES = {\n");
    for (int k = 0; k < m->funcs.n; k++) {
        const AbiEntry *e = m->funcs.p[k]->entry;
        for (int j = 0; j < e->args.n; j++)
            if (e->args.p[j].kind == ARG_OPT)
                sb_printf(&sb, "    '%s': '%s',\n", e->decl, dim_text(ctx, e->args.p[j].bytes));
    }
    sb_put(&sb, "}\n\n");
    for (int k = 0; k < m->funcs.n; k++)
        put_entry(ctx, &sb, m, m->funcs.p[k]);
    return sb.text;
}
