/* cnnc generate KIND: what other programs want to know of the command line and the language, from the same tables as
 * --help, the lexer and the library: completions of shells, the man page, syntax files of editors. */
#include <string.h>

#include "driver/options.h"
#include "frontend/frontend.h"
#include "frontend/lex.h"
#include "frontend/parse.h"
#include "ir/dist.h"

/* ---- words of the language */

typedef struct Words {
    Strings reserved, statements, kinds, values, functions, layers, dists, optimizers;
} Words;

static void add(Session *s, Strings *list, const char *word) { vec_push(s->arena, list, word); }

static void prelude_words(Session *s, Words *w) {
    const AstFile *f = parse_file(s->ctx, ctx_add_file(s->ctx, "prelude.cnn", frontend_prelude, frontend_prelude_len));
    for (int k = 0; k < f->n_items; k++) {
        const Item *it = f->items[k];
        add(s, it->kind == ITEM_MODEL ? &w->layers : it->kind == ITEM_OPTIMIZER ? &w->optimizers : &w->functions, it->name.text);
    }
}

static Words words(Session *s) {
    Words w = {0};
    const char *names[200];
    for (int k = 0; k < N_TOK_KINDS; k++)
        if (tok_is_reserved((TokKind)k))
            add(s, &w.reserved, tok_kind_text((TokKind)k));
    for (int k = ITEM_IMPORT; k <= ITEM_TEST; k++)
        add(s, &w.statements, item_keyword((ItemKind)k));
    for (int k = STMT_PARAM; k < STMT_BIND; k++) {
        const char *word = stmt_keyword((StmtKind)k);
        if (k != STMT_CONST && k != STMT_RETURN && k != STMT_MINIMIZE && k != STMT_EXPECT)
            add(s, &w.statements, word);
    }
    add(s, &w.statements, "as");
    int n = frontend_words(FRONTEND_KINDS, names, 200);
    for (int k = 0; k < n; k++)
        add(s, &w.kinds, names[k]);
    n = frontend_words(FRONTEND_VALUES, names, 200);
    for (int k = 0; k < n; k++)
        add(s, &w.values, names[k]);
    n = frontend_words(FRONTEND_FUNCTIONS, names, 200);
    for (int k = 0; k < n; k++)
        add(s, &w.functions, names[k]);
    prelude_words(s, &w);
    const DistDef *const *dists = dist_all(&n);
    for (int k = 0; k < n; k++)
        add(s, &w.dists, dists[k]->name);
    add(s, &w.dists, "Mixture");
    add(s, &w.dists, "Weighted");
    add(s, &w.dists, "LogDensity");
    return w;
}

static void join(StrBuf *o, const Strings *list, const char *between) {
    for (int k = 0; k < list->n; k++)
        sb_printf(o, "%s%s", k ? between : "", list->p[k]);
}

/* ---- shells */

static void each_verb(StrBuf *o, const char *between) {
    int n;
    const Command *c = command_all(&n);
    for (int k = 0; k < n; k++)
        sb_printf(o, "%s%s", k ? between : "", c[k].verb);
}

/* "auto|always|never" are words to choose from; FILE and the like are not. */
static bool is_choice(const char *value) { return value && strchr(value, '|') && value[0] >= 'a' && value[0] <= 'z'; }

static void put_choice(StrBuf *o, const char *value) {
    for (; *value; value++)
        sb_putc(o, *value == '|' ? ' ' : *value);
}

static void put_quoted(StrBuf *o, const char *text, const char *special) {
    for (; *text; text++) {
        if (strchr(special, *text))
            sb_putc(o, '\\');
        sb_putc(o, *text);
    }
}

static void bash(Session *s, StrBuf *o) {
    int n;
    const OptionInfo *all = options_all(s, &n);
    sb_put(o, "# bash completion for cnnc, by `cnnc generate bash`\n"
              "_cnnc() {\n"
              "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} verb=${COMP_WORDS[1]}\n"
              "    [[ $cur == = ]] && cur=\n"
              "    [[ $prev == = ]] && prev=${COMP_WORDS[COMP_CWORD-2]}\n"
              "    case $prev in\n");
    for (int k = 0; k < n; k++)
        if (is_choice(all[k].value)) {
            sb_printf(o, "        %s) COMPREPLY=($(compgen -W '", all[k].name);
            put_choice(o, all[k].value);
            sb_put(o, "' -- \"$cur\")); return ;;\n");
        }
    sb_put(o, "    esac\n    if [[ $cur == -* ]]; then\n        COMPREPLY=($(compgen -W '");
    for (int k = 0; k < n; k++)
        sb_printf(o, "%s%s", k ? " " : "", all[k].name);
    for (int k = 0; options_warnings[k]; k++)
        sb_printf(o, " -W%s -Wno-%s", options_warnings[k], options_warnings[k]);
    sb_put(o, "' -- \"$cur\"))\n    elif ((COMP_CWORD == 1)); then\n        COMPREPLY=($(compgen -W '");
    each_verb(o, " ");
    sb_put(o, "' -- \"$cur\") $(compgen -f -X '!*.cnn' -- \"$cur\") $(compgen -d -- \"$cur\"))\n"
              "    else\n"
              "        case $verb in\n"
              "            list) COMPREPLY=($(compgen -W 'ops passes dists targets' -- \"$cur\")) ;;\n"
              "            explain) COMPREPLY=($(compgen -W \"$(cnnc explain 2>/dev/null)\" -- \"$cur\")) ;;\n"
              "            generate) COMPREPLY=($(compgen -W 'bash zsh fish man vim textmate' -- \"$cur\")) ;;\n"
              "            *) COMPREPLY=($(compgen -f -- \"$cur\")) ;;\n"
              "        esac\n"
              "    fi\n"
              "}\n"
              "complete -o filenames -F _cnnc cnnc\n");
}

static void zsh(Session *s, StrBuf *o) {
    int n, m;
    const OptionInfo *all = options_all(s, &n);
    const Command *c = command_all(&m);
    sb_put(o, "#compdef cnnc\n# zsh completion for cnnc, by `cnnc generate zsh`\n_cnnc() {\n    local -a verbs options\n    verbs=(\n");
    for (int k = 0; k < m; k++) {
        sb_printf(o, "        '%s:", c[k].verb);
        put_quoted(o, c[k].help, ":");
        sb_put(o, "'\n");
    }
    sb_put(o, "    )\n    options=(\n");
    for (int k = 0; k < n; k++) {
        sb_printf(o, "        '*%s%s[", all[k].name, !all[k].value ? "" : strlen(all[k].name) == 2 ? "+" : "=");
        put_quoted(o, all[k].help, "[]:'");
        sb_put(o, "]");
        if (is_choice(all[k].value)) {
            sb_put(o, ":value:(");
            put_choice(o, all[k].value);
            sb_put(o, ")");
        } else if (all[k].value) {
            sb_put(o, ":value:_files");
        }
        sb_put(o, "'\n");
    }
    sb_put(o, "    )\n"
              "    _arguments -s $options '1: :->first' '*: :_files'\n"
              "    [[ $state == first ]] && { _describe verb verbs; _files -g '*.cnn' }\n"
              "}\n"
              "_cnnc \"$@\"\n");
}

static void fish(Session *s, StrBuf *o) {
    int n, m;
    const OptionInfo *all = options_all(s, &n);
    const Command *c = command_all(&m);
    sb_put(o, "# fish completion for cnnc, by `cnnc generate fish`\n");
    for (int k = 0; k < m; k++) {
        sb_printf(o, "complete -c cnnc -n __fish_use_subcommand -a %s -d '", c[k].verb);
        put_quoted(o, c[k].help, "'\\");
        sb_put(o, "'\n");
    }
    for (int k = 0; k < n; k++) {
        const char *name = all[k].name;
        bool dashes = name[1] == '-';
        sb_printf(o, "complete -c cnnc -%s %s", dashes ? "l" : strlen(name) == 2 ? "s" : "o", name + (dashes ? 2 : 1));
        if (is_choice(all[k].value)) {
            sb_put(o, " -x -a '");
            put_choice(o, all[k].value);
            sb_put(o, "'");
        } else if (all[k].value) {
            sb_put(o, " -r");
        }
        sb_put(o, " -d '");
        put_quoted(o, all[k].help, "'\\");
        sb_put(o, "'\n");
    }
}

/* ---- man page (man(7)) */

static void roff(StrBuf *o, const char *text) {
    for (; *text; text++) {
        if (*text == '\\')
            sb_put(o, "\\e");
        else if (*text == '-')
            sb_put(o, "\\-");
        else
            sb_putc(o, *text);
    }
}

static void man(Session *s, StrBuf *o) {
    int n, m;
    const OptionInfo *all = options_all(s, &n);
    const Command *c = command_all(&m);
    sb_put(o, ".TH CNNC 1 \"\" \"cnnc " CNNC_VERSION "\" \"User Commands\"\n"
              ".SH NAME\ncnnc \\- compiles statistical and neural models, training step included\n"
              ".SH SYNOPSIS\n.B cnnc\n.I FILE.cnn\n.B \\-o\n.I OUT\n.br\n.B cnnc\n.I VERB ...\n"
              ".SH DESCRIPTION\nA .cnn file holds functions, models and estimators.\n"
              "Without a verb it is compiled; the suffix of\n.I OUT\nsays to what: .so .o .a .s .ll .bc .h .py .dot.\n"
              ".SH VERBS\n");
    for (int k = 0; k < m; k++) {
        sb_printf(o, ".TP\n.B %s\n.I ", c[k].verb);
        roff(o, c[k].arguments);
        sb_put(o, "\n");
        roff(o, c[k].help);
        sb_put(o, "\n");
    }
    sb_put(o, ".SH OPTIONS\n");
    for (int k = 0; k < n; k++) {
        sb_put(o, ".TP\n.B ");
        roff(o, all[k].name);
        if (all[k].value) {
            sb_put(o, "\n.I ");
            roff(o, all[k].value);
        }
        sb_put(o, "\n");
        roff(o, all[k].help);
        sb_put(o, "\n");
    }
    sb_put(o, ".TP\n.BI \\-W NAME\n.TQ\n.BI \\-Wno\\- NAME\nswitches a warning on or off:");
    for (int k = 0; options_warnings[k]; k++) {
        sb_put(o, k ? ", " : " ");
        roff(o, options_warnings[k]);
    }
    sb_put(o, "\n.TP\n.BI @ FILE\nmore arguments from a file\n"
              ".SH EXIT STATUS\n.TP\n0\nno error\n.TP\n1\nerrors in the program\n.TP\n2\na wrong command line\n"
              ".TP\n3\na file cannot be read or written, or its data do not match\n"
              ".TP\n4\na check failed (test, gradcheck, fmt \\-\\-check), or a fit did\n"
              ".TP\n70\na mistake in the compiler\n.TP\n130\nstopped by Ctrl\\-C\n"
              ".SH ENVIRONMENT\n.TP\nNO_COLOR\nno colours in messages\n.TP\nCNNC_HISTORY\nthe file of the history of\n.B cnnc repl\n");
}

/* ---- editors */

static void vim_words(StrBuf *o, const char *group, const Strings *list) {
    sb_printf(o, "syn keyword %s ", group);
    join(o, list, " ");
    sb_put(o, "\n");
}

static void vim(Session *s, StrBuf *o) {
    Words w = words(s);
    sb_put(o, "\" Vim syntax file for .cnn, by `cnnc generate vim`\n"
              "if exists('b:current_syntax') | finish | endif\n"
              "syn iskeyword @,48-57,_\n");
    vim_words(o, "cnnReserved", &w.reserved);
    vim_words(o, "cnnStatement", &w.statements);
    vim_words(o, "cnnKind", &w.kinds);
    vim_words(o, "cnnValue", &w.values);
    vim_words(o, "cnnFunction", &w.functions);
    vim_words(o, "cnnLayer", &w.layers);
    vim_words(o, "cnnDist", &w.dists);
    vim_words(o, "cnnOptimizer", &w.optimizers);
    sb_put(o, "syn match cnnNumber '\\<\\d\\+\\(\\.\\d\\+\\)\\?\\([eE][+-]\\?\\d\\+\\)\\?\\>'\n"
              "syn region cnnString start='\"' end='\"' oneline\n"
              "syn match cnnOperator '|>\\|:=\\|=>\\|->\\|\\~'\n"
              "syn match cnnComment '#.*$' contains=@Spell\n"
              "syn match cnnDoc '##.*$' contains=@Spell\n"
              "hi def link cnnReserved Conditional\nhi def link cnnStatement Keyword\nhi def link cnnKind Type\n"
              "hi def link cnnValue Constant\nhi def link cnnFunction Function\nhi def link cnnLayer Function\n"
              "hi def link cnnDist Special\nhi def link cnnOptimizer Function\nhi def link cnnNumber Number\n"
              "hi def link cnnString String\nhi def link cnnOperator Operator\nhi def link cnnComment Comment\n"
              "hi def link cnnDoc SpecialComment\n"
              "let b:current_syntax = 'cnn'\n");
}

static void textmate_words(StrBuf *o, const char *scope, const Strings *list) {
    sb_put(o, "    {\"match\": \"\\\\b(");
    join(o, list, "|");
    sb_printf(o, ")\\\\b\", \"name\": \"%s.cnn\"},\n", scope);
}

static void textmate(Session *s, StrBuf *o) {
    Words w = words(s);
    sb_put(o, "{\n  \"name\": \"cnn\",\n  \"scopeName\": \"source.cnn\",\n  \"fileTypes\": [\"cnn\"],\n  \"patterns\": [\n"
              "    {\"match\": \"##.*$\", \"name\": \"comment.line.documentation.cnn\"},\n"
              "    {\"match\": \"#.*$\", \"name\": \"comment.line.number-sign.cnn\"},\n"
              "    {\"match\": \"\\\"[^\\\"]*\\\"\", \"name\": \"string.quoted.double.cnn\"},\n"
              "    {\"match\": \"\\\\b[0-9]+(\\\\.[0-9]+)?([eE][+-]?[0-9]+)?\\\\b\", \"name\": \"constant.numeric.cnn\"},\n"
              "    {\"match\": \"\\\\b(def|model|estimator|optimizer)\\\\s+([A-Za-z_][A-Za-z0-9_]*)\", \"captures\": {\"1\": {\"name\": "
              "\"keyword.declaration.cnn\"}, \"2\": {\"name\": \"entity.name.function.cnn\"}}},\n");
    textmate_words(o, "keyword.control", &w.reserved);
    textmate_words(o, "keyword.declaration", &w.statements);
    textmate_words(o, "storage.type", &w.kinds);
    textmate_words(o, "constant.language", &w.values);
    textmate_words(o, "support.function", &w.functions);
    textmate_words(o, "support.function.layer", &w.layers);
    textmate_words(o, "support.class.distribution", &w.dists);
    textmate_words(o, "support.function.optimizer", &w.optimizers);
    sb_put(o, "    {\"match\": \"\\\\|>|:=|=>|->|~|==|!=|<=|>=|//|[-+*/%@^<>=]\", \"name\": \"keyword.operator.cnn\"}\n  ]\n}\n");
}

void command_generate(Session *s) {
    static const struct {
        const char *name;
        void (*put)(Session *s, StrBuf *o);
    } all[] = {{"bash", bash}, {"zsh", zsh}, {"fish", fish}, {"man", man}, {"vim", vim}, {"textmate", textmate}};
    for (size_t k = 0; k < sizeof all / sizeof *all; k++)
        if (s->args.n == 2 && strcmp(all[k].name, s->args.p[1]) == 0) {
            all[k].put(s, &s->out);
            return;
        }
    session_usage(s, "generate what? bash, zsh, fish, man, vim or textmate");
}
