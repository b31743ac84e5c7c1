#!/bin/sh
# Builds the documentation as one static site in build/site:
#   docs/build.sh
# Needs cnnc (./setup.sh build) and python3 with venv; MkDocs comes from PyPI into build/docs-venv. The pages' commands
# run first, so the site shows the pictures that they drew; the reference is written by cnnc itself.
set -eu
cd "$(dirname "$0")/.."
preset=${PRESET:-release}
cnnc=build/$preset/cnnc
[ -x "$cnnc" ] || { echo "docs: build cnnc first: ./setup.sh build" >&2; exit 1; }
[ -x build/docs-venv/bin/mkdocs ] || {
    python3 -m venv build/docs-venv
    build/docs-venv/bin/pip install -q 'mkdocs>=1.6,<2'
}

pages=build/site-pages
rm -rf $pages build/docs-run
mkdir -p $pages
CNNC_DOCS_OUT="$PWD/build/docs-run" build/$preset/tests/test_docs >/dev/null
cp docs/*.md $pages/
for page in build/docs-run/*/; do # pictures that the commands of a page drew
    name=$(basename "$page")
    for picture in "$page"*.png "$page"*.svg; do
        [ -f "$picture" ] && mkdir -p "$pages/$name" && cp "$picture" "$pages/$name/"
    done
done
cp docs/*.svg $pages/
[ -d docs/images ] && cp -r docs/images $pages/

reference() { # title, file, what `cnnc list` lists, introduction
    { printf '# %s\n\n%s\n\n' "$1" "$4"; echo '```text'; "$cnnc" list "$3"; echo '```'; } >$pages/"$2"
}
reference Operations ref-ops.md ops 'Scalar rows and structured operations of the graph IR (`cnnc list ops`).'
reference Distributions ref-dists.md dists 'What may stand at the right of `~` (`cnnc list dists`).'
reference Passes ref-passes.md passes 'The pipeline, in order (`cnnc list passes`).'
reference Targets ref-targets.md targets 'CPUs that code is generated for (`cnnc list targets`).'
{
    printf '# Command line\n\n'
    echo '```text'; "$cnnc" --help; echo '```'
} >$pages/ref-cli.md
{
    printf '# The library\n\nLayers, activations, losses and optimizers are written in the language itself, in `frontend/prelude.cnn`:\n\n'
    echo '```text'; cat frontend/prelude.cnn; echo '```'
} >$pages/ref-library.md
{
    printf '# Messages\n\nEvery message has a code; `cnnc explain CODE` prints its page.\n'
    for code in $(sed -n 's/^PAGE(\([EW][0-9]*\),.*/\1/p' $(sed -n 's/^#include "\(.*\)"$/\1/p' driver/explain.def)); do
        printf '\n## %s\n\n' "$code"
        echo '```text'; "$cnnc" explain "$code"; echo '```'
    done
} >$pages/ref-messages.md
{
    printf '# Examples\n'
    for f in examples/*.cnn; do
        printf '\n## %s\n\n' "$(basename "$f")"
        echo '```text'; cat "$f"; echo '```'
    done
} >$pages/ref-examples.md
# Links to the tree lead to the listing of the examples.
sed -i 's#(\.\./examples/[a-z0-9]*\.cnn)#(ref-examples.md)#; s#(\.\./examples/[a-z0-9]*\.c)#(ref-examples.md)#' $pages/*.md
build/docs-venv/bin/mkdocs build -q -f docs/mkdocs.yml -d ../build/site
echo "docs: build/site/index.html"
