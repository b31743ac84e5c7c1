"""The results as a Markdown table, a page and a bar chart (SVG)."""
import datetime
import platform


def cpu():
    try:
        return next(l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown CPU"


def amount(seconds):
    return "%.1f us" % (1e6 * seconds) if seconds < 1e-3 else "%.2f ms" % (1e3 * seconds) if seconds < 1 else "%.2f s" % seconds


def markdown(results, notes):
    lines = ["| work | cnnc | best peer | cnnc is faster by | others | share of FMA peak |", "| --- | --- | --- | --- | --- | --- |"]
    for r in results:
        others = ", ".join("%s %s" % (k, amount(t)) for k, t in sorted(r.peers.items(), key=lambda p: p[1])[1:])
        best = min(r.peers.items(), key=lambda p: p[1]) if r.peers else None
        lines.append("| %s | %s | %s | %s | %s | %s |" % (
            r.name, amount(r.seconds) if r.seconds else "wrong result", "%s %s" % (best[0], amount(best[1])) if best else "none", "**%.2fx**" % r.ratio if r.ratio else "-", others or "-",
            "%.0f %% of %.0f GF/s" % (100 * r.share, r.top / 1e9) if r.share else "-"))
    text = "\n".join(lines) + "\n"
    for n in notes + [w for r in results for w in r.wrong]:
        text += "\n- %s" % n
    return text + ("\n" if notes else "")


def page(table, svg):
    return """# Performance

This page is made by `python3 bench/bench.py --out docs/performance.md`; run it on your machine. Every row is measured in one process, the
systems in turn, and the best of the rounds counts. Before anything is timed all systems of a row must agree in their results. The share of
the multiply-add peak is of a loop that keeps independent sums in registers, timed in the same rounds.

%s, %d %s processors, %s.

%s
![how many times as fast as the best peer](%s)
""" % (cpu(), __import__("os").cpu_count(), platform.machine(), datetime.date.today().isoformat(), table, svg)


def chart(results):
    """Bars of the ratio to the best peer on a logarithmic axis, a line at 1."""
    import math
    shown = [r for r in results if r.ratio]
    if not shown:
        return '<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"/>\n'
    left, width, row = 330, 520, 22
    least = min(0.5, min(r.ratio for r in shown) * 0.9)
    most = max(2.0, max(r.ratio for r in shown) * 1.15)

    def x(v):
        return left + width * math.log(v / least) / math.log(most / least)
    height = row * len(shown) + 40
    out = ['<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">' % (left + width + 60, height)]
    out.append('<rect width="100%" height="100%" fill="white"/>')
    for tick in (0.25, 0.5, 1, 2, 4, 8, 16, 32, 64):
        if least <= tick <= most:
            out.append('<line x1="%.1f" y1="10" x2="%.1f" y2="%d" stroke="%s"/>' % (x(tick), x(tick), height - 25, "#444" if tick == 1 else "#ddd"))
            out.append('<text x="%.1f" y="%d" text-anchor="middle" fill="#444">%gx</text>' % (x(tick), height - 8, tick))
    for k, r in enumerate(shown):
        y = 12 + row * k
        a, b = sorted((x(1), x(r.ratio)))
        out.append('<text x="%d" y="%d" text-anchor="end">%s</text>' % (left - 8, y + 13, r.name.replace("&", "&amp;").replace("<", "&lt;")))
        out.append('<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"/>' % (a, y, max(1, b - a), row - 6, "#2a7" if r.ratio >= 1 else "#c64"))
        out.append('<text x="%.1f" y="%d">%.2f</text>' % (b + 5, y + 13, r.ratio))
    return "\n".join(out + ["</svg>"]) + "\n"
