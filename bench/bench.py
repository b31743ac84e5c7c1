#!/usr/bin/env python3
"""Measures cnnc next to its peers, checks that all compute the same, and writes docs/performance.md with a chart.

    python3 bench/bench.py                    # makes a virtual environment, installs the peers, runs all rows
    python3 bench/bench.py --here lenet       # this interpreter and what it has; rows whose name holds a word
    python3 bench/bench.py --rounds 40 --out docs/performance.md

What cannot be installed or built is skipped, and the report says so. Needed: Python 3.11, a C compiler, a built cnnc (CNNC, else
build/release/cnnc, else build/ci/cnnc).
"""
import argparse
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
PEERS = {  # module: what pip is asked for, best first
    "numpy": [["numpy"]],
    "torch": [["torch", "--index-url", "https://download.pytorch.org/whl/cpu"], ["torch"]],
    "jax": [["jax"]],
    "onnxruntime": [["onnx", "onnxruntime"]],
    "openvino": [["openvino"]],
    "sklearn": [["scikit-learn"]],
    "statsmodels": [["statsmodels"]],
}


def install(folder):
    """A virtual environment with whatever of the peers can be had; its interpreter."""
    python = os.path.join(folder, "bin", "python")
    if not os.path.exists(python):
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    for module, ways in PEERS.items():
        if subprocess.run([python, "-c", "import " + module], capture_output=True).returncode == 0:
            continue
        if not any(subprocess.run([python, "-m", "pip", "install", "-q", *way]).returncode == 0 for way in ways):
            print("not installed: %s" % module, file=sys.stderr)
    return python


def arguments():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("rows", nargs="*", help="words; a row runs if its name holds one")
    a.add_argument("--here", action="store_true", help="no virtual environment: this interpreter and what it has")
    a.add_argument("--venv", default=os.path.join(ROOT, "build", "bench-venv"))
    a.add_argument("--rounds", type=int, default=30, help="times every system is measured, in turn")
    a.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    a.add_argument("--out", help="write the report here (Markdown) and its chart beside it (SVG)")
    return a.parse_args()


def main():
    opt = arguments()
    if not opt.here:
        python = install(opt.venv)
        os.execv(python, [python, os.path.abspath(__file__), "--here", *sys.argv[1:]])
    sys.path.insert(0, HERE)
    import report
    import rows
    results, notes = rows.run(opt)
    text = report.markdown(results, notes)
    print(text)
    if opt.out:
        svg = os.path.splitext(opt.out)[0] + ".svg"
        with open(svg, "w") as f:
            f.write(report.chart(results))
        with open(opt.out, "w") as f:
            f.write(report.page(text, os.path.basename(svg)))
    sys.exit(1 if any(r.wrong for r in results) else 0)


if __name__ == "__main__":
    main()
