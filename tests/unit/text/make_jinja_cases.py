#!/usr/bin/env python3
"""Writes data/jinja_cases.json: templates with the text that Jinja2 3.1.2 makes of them, in the
environment in which chat templates run. Run by hand when cases are added:
    python3 tests/unit/text/make_jinja_cases.py
A case has "template", "vars" and one of "text", "error" (the exact message) or "fails" (any error:
syntax errors and messages that are not worth copying)."""
import copy
import json
import pathlib

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

HERE = pathlib.Path(__file__).parent
EXACT = (jinja2.exceptions.UndefinedError, jinja2.exceptions.SecurityError)


class Generation(jinja2.ext.Extension):
    """{% generation %} as a plain scope."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.Scope(body, lineno=line)


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
                      sort_keys=sort_keys)


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def environment():
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                        extensions=[jinja2.ext.loopcontrols, Generation])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    return env


def render(env, template, variables):
    try:
        return {"text": env.from_string(template).render(**copy.deepcopy(variables))}
    except EXACT as error:
        return {"error": str(error)}
    except jinja2.exceptions.TemplateSyntaxError:
        return {"fails": "syntax"}
    except jinja2.exceptions.TemplateError as error:
        return {"error": str(error)}
    except Exception as error:
        return {"fails": f"{type(error).__name__}: {error}"}


MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi  "},
    {"role": "assistant", "content": "Hello!", "tool_calls": [
        {"id": "c1", "type": "function",
         "function": {"name": "f", "arguments": {"a": 1, "b": [1.5, None, True, "é"]}}}]},
    {"role": "tool", "content": "{\"t\": 3}", "tool_call_id": "c1"},
    {"role": "user", "content": "Bye"},
]
DATA = {
    "ms": MESSAGES, "n": 5, "f": 2.5, "s": "Hello, World", "u": "Grüße, 日本 🙂",
    "d": {"b": 2, "a": 1, "C": 3}, "l": [3, 1, 2], "e": [], "none_": None, "t": True,
    "nested": {"k": [1, 2.5, True, None, "é\"'\n"], "o": {}, "e": []},
    "users": [{"name": "Bob", "age": 30, "tags": ["x"]}, {"name": "alice", "age": 25, "tags": []},
              {"name": "Carl", "age": 30}],
}

# Templates that use DATA. One line each, grouped by what they are about.
CASES = r"""
{{ 1 }}{{ 1.0 }}{{ 1e3 }}{{ 1_000 }}{{ 0x1F }}{{ 0b101 }}{{ 0o17 }}{{ 1.5e-7 }}{{ 1e16 }}{{ 1e15 }}{{ 0.0001 }}{{ 0.00001 }}
{{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % -3 }} {{ -7 % 3 }} {{ 7.5 // 2 }} {{ -7.5 % 2 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ 2 ** 0.5 }} {{ 10 / 4 }} {{ 4 / 2 }}
{{ 1 + 2 * 3 - 4 / 2 }} {{ (1 + 2) * 3 }} {{ -2 ** 2 }} {{ 2 ** 3 ** 2 }} {{ - - 3 }} {{ +3 }} {{ -n }} {{ -f }} {{ not not n }}
{{ 1 + true }} {{ true + true }} {{ -true }} {{ 1.0 + 1 }} {{ 3 * 1.5 }} {{ 0.1 + 0.2 }} {{ 1 / 3 }} {{ 100000000000000000 * 1.0 }}
{{ 'a' + 'b' }} {{ 'ab' * 3 }} {{ 3 * 'ab' }} {{ [1] + [2] }} {{ [1, 2] * 2 }} {{ (1,) + (2,) }} {{ 'x' * 0 }}{{ 'x' * -1 }}
{{ 1 ~ 2 ~ 'x' ~ none ~ true ~ 1.5 ~ [1] ~ undefined_name }}
{{ 1 < 2 }} {{ 1 < 2 < 3 }} {{ 3 > 2 > 2 }} {{ 1 == 1.0 }} {{ 1 == true }} {{ 'a' < 'b' }} {{ [1, 2] < [1, 3] }} {{ (1, 2) == (1, 2) }} {{ [1] == (1,) }}
{{ 'a' == 1 }} {{ none == none }} {{ none == false }} {{ d == d }} {{ {'a': 1} == {'a': 1.0} }} {{ x == y }} {{ x == 1 }} {{ 1 != 2 }} {{ x != y }}
{{ 1 in [1, 2] }} {{ 3 not in [1, 2] }} {{ 'ell' in s }} {{ 'a' in d }} {{ 'z' not in d }} {{ 2 in d.values() }} {{ 1 in (1, 2) }} {{ 'x' in undefined_name }}
{{ not 1 in [1] }} {{ 1 in [1] == true }} {{ not n == 5 }} {{ 1 if 0 else 2 }} {{ 'a' if false }}|{{ 1 if 1 }}
{{ 0 or 'x' }} {{ '' and 'y' }} {{ 1 and 2 }} {{ none or none }} {{ [] or {} }} {{ 1 or undefined_name.x }} {{ 0 and undefined_name.x }} {{ 1 and 2 and 3 or 4 }}
{{ 'a' if x is defined else 'b' if n > 5 else 'c' }}
{{ 'x''y' "z" }} {{ 'a\nb\tc\\d\'e\x41\u00e9\U0001F642\101' }} {{ "it's" }} {{ 'say "hi"' }} {{ '\q' }}
{{ [1, 'a', 1.5, true, none, [2], (3,), {'k': 'v'}] }} {{ () }} {{ (1,) }} {{ (1, 2) }} {{ [] }} {{ {} }} {{ 1, 2 }}
{{ ["it's", 'say "hi"', 'both \' "', 'a\\b', 'tab\t', '\x00\x7f', 'é', '\u200b', '日本'] }}
{{ [1.0, 1e100, 1e-5, 123456789.123, 0.1, 1e22, 5e-324, 1.7976931348623157e308] }}
{{ {'a': 1, 'b': [1, 2], 3: none, 1.5: true, none: 1, (1, 2): 3} }} {{ {'a': 1, 'a': 2, 'b': 3} }} {{ {1: 'a', true: 'b', 1.0: 'c'} }}
{{ s[0] }}{{ s[-1] }}{{ s[1:4] }}{{ s[:3] }}{{ s[-3:] }}{{ s[::2] }}{{ s[::-1] }}{{ s[10:2] }}{{ s[2:100] }}{{ s[100:] }}{{ s[-100:2] }}{{ s[8:2:-2] }}
{{ u[0] }}{{ u[2] }}{{ u[-1] }}{{ u[1:4] }}{{ u[::-1] }}{{ u[-4:] }}{{ u | length }}{{ u[::3] }}{{ u | reverse }}
{{ l[0] }}{{ l[-1] }}{{ l[1:] }}{{ l[::-1] }}{{ l[5:] }}{{ l[:-1] }}{{ (1, 2, 3)[1:] }}{{ l[-2] }}{{ l[0:3:2] }}{{ l[none:none] }}
{{ l[10] }}|{{ l[10] is defined }}|{{ d.zz is defined }}|{{ d['zz'] }}|{{ s[100] }}|{{ ms[0].zz }}|{{ ms[0].role }}|{{ ms[0]['role'] }}|{{ ms.0.role }}
{{ d.a }}{{ d['b'] }}{{ d.get('a') }}{{ d.get('zz') }}{{ d.get('zz', 'dd') }}{{ d.keys() | list }}{{ d.values() | list }}{{ d.items() | list }}{{ d.items() }}{{ d.keys() }}
{{ 'items' in d }}|{{ {'items': 1}['items'] }}|{{ {'items': [1]}.items() | list }}
{% for k in d %}{{ k }}{% endfor %} {% for k, v in d.items() %}{{ k }}={{ v }} {% endfor %} {% for k, v in d | dictsort %}{{ k }}={{ v }} {% endfor %} {% for c in 'abc' %}{{ c }},{% endfor %}
{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.depth0 }}|{% endfor %}
{% for x in l %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }} {% endfor %}{% for x in l %}{{ loop.cycle('a', 'b') }}{{ loop.changed(x > 1) }} {% endfor %}
{% for x in e %}x{% else %}empty{% endfor %}{% for x in undefined_name %}x{% else %}undef{% endfor %}{% for x in l if x > 5 %}x{% else %}none{% endfor %}
{% for x in l if x > 1 %}{{ loop.index }}:{{ x }}/{{ loop.length }} {% endfor %}
{% for a, b in [(1, 2), [3, 4], 'xy'] %}{{ a }}-{{ b }} {% endfor %}{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}
{% for x in l recursive %}{{ x }}{% endfor %}{% for x in [{'n': 1, 'c': [{'n': 2, 'c': []}, {'n': 3, 'c': [{'n': 4}]}]}] recursive %}[{{ x.n }}@{{ loop.depth }}{% if x.c %}{{ loop(x.c) }}{% endif %}]{% endfor %}
{% for i in range(10) %}{% if i == 2 %}{% continue %}{% endif %}{% if i > 4 %}{% break %}{% endif %}{{ i }}{% endfor %}
{% for i in range(3) %}{% for j in range(3) %}{% if j == 1 %}{% break %}{% endif %}{{ i }}{{ j }} {% endfor %}{{ loop.index }};{% endfor %}
{% for x in l %}{% set y = x %}{% endfor %}{{ y is defined }}{% set y = 0 %}{% for x in l %}{% set y = y + x %}{{ y }}{% endfor %}{{ y }}
{% set ns = namespace(a=1, b='x') %}{% for x in l %}{% set ns.a = ns.a + x %}{% endfor %}{{ ns.a }}{{ ns.b }}{{ ns }}{{ ns.zz is defined }}
{% set ns = namespace({'a': 1}, b=2) %}{{ ns.a }}{{ ns.b }}{{ ns['a'] }}|{% set ns.c = [1] %}{{ ns.c }}
{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set (c, d2) = [3, 4] %}{{ c }}{{ d2 }}{% set x = (1,) %}{{ x }}{% set z = 1, 2 %}{{ z }}
{% set x %}<{{ n }}>{% endset %}{{ x }}{{ x | length }}{% set y | upper | trim %}  ab {% endset %}[{{ y }}]
{% set x = 1 %}{% if true %}{% set x = 2 %}{% endif %}{{ x }}{% with %}{% set x = 3 %}{{ x }}{% endwith %}{{ x }}
{% with a = 1, b = n %}{{ a }}{{ b }}{% endwith %}{{ a is defined }}{% with a = 1 %}{% with a = a + 1 %}{{ a }}{% endwith %}{{ a }}{% endwith %}
{% macro f(a, b=2, c=a) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ f(1) }}|{{ f(1, 3) }}|{{ f(1, c=5) }}|{{ f(b=1, a=2) }}|{{ f() }}|{{ f }}
{% macro f() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, 2, x=3) }}|{{ f() }}|{{ f.name }}
{% macro f(x) %}<{{ x }}{{ caller() }}>{% endmacro %}{% call f(1) %}body{{ n }}{% endcall %}{% macro g() %}{{ caller(1, b=2) }}{% endmacro %}{% call(a, b=3) g() %}{{ a }}{{ b }}{% endcall %}
{% macro f(x) %}{% if x > 0 %}{{ x }}{{ f(x - 1) }}{% endif %}{% endmacro %}{{ f(5) }}{% set r = f(2) %}[{{ r }}]{{ r is string }}
{% macro f() %}{{ outer }}{% endmacro %}{% set outer = 1 %}{{ f() }}{% set outer = 2 %}{{ f() }}{% for outer in [9] %}{{ f() }}{% endfor %}
{% macro f(*args) %}{% endmacro %}
{% macro f(a) %}{{ a }}{% endmacro %}{{ f(*[1]) }}{{ f(**{'a': 2}) }}{{ f(1, 2) }}
{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, z=2) }}
{% macro f(a) %}{{ a.b }}{% endmacro %}{{ f() }}
{% filter upper %}abc{{ n }}{% endfilter %}{% filter replace('a', 'b') | upper %}aaa{% endfilter %}{% filter indent(2) %}x
y{% endfilter %}
{% generation %}{{ n }}{% set inside = 1 %}{% endgeneration %}{{ inside is defined }}
{% raw %}{{ not }} {% if %}{# x #}{% endraw %}{{ n }}{%- raw -%}  a  {%- endraw -%}  b
{# comment {{ n }} #}{#- x -#}  a{#+ y #} {% if t %} {# z #}x{% endif %}
{{ s | upper }}{{ s | lower }}{{ 'hello wORLD-foo (bar) it''s' | title }}{{ 'hELLO wORLD' | capitalize }}{{ u | upper }}{{ 'straße' | upper }}
{{ '  x ' | trim }}|{{ 'xxaxx' | trim('x') }}|{{ '  x '.strip() }}|{{ '  x '.lstrip() }}|{{ '  x '.rstrip() }}|{{ 'abcba'.strip('ab') }}|{{ '\u3000x\xa0'.strip() }}|
{{ 'a,b,c'.split(',') }}{{ ' a  b '.split() }}{{ 'a,b,c'.split(',', 1) }}{{ 'a,b,c'.rsplit(',', 1) }}{{ ''.split() }}{{ ''.split(',') }}{{ ' a b  c '.split(none, 1) }}{{ 'a b c'.rsplit(none, 1) }}{{ 'a,b'.split(sep=',', maxsplit=0) }}
{{ 'a\nb\r\nc\n'.splitlines() }}{{ 'a\nb'.splitlines(true) }}{{ ''.splitlines() }}{{ '\n'.splitlines() }}
{{ s.startswith('Hel') }}{{ s.endswith(('x', 'ld')) }}{{ s.startswith('x') }}{{ s.startswith('llo', 2) }}{{ s.find('o') }}{{ s.rfind('o') }}{{ s.find('zz') }}{{ s.index('W') }}{{ s.count('l') }}{{ s.count('') }}{{ u.find('日') }}{{ u.rfind('ü') }}
{{ s.replace('l', 'L') }}{{ s.replace('l', 'L', 1) }}{{ 'abc'.replace('', '-') }}{{ 'abc' | replace('b', 1) }}{{ 'aaa' | replace('a', 'b', 2) }}{{ 'aaa' | replace('a', 'b', count=1) }}{{ 123 | replace(2, 'x') }}
{{ 'abc'.upper() }}{{ 'ABC'.lower() }}{{ "they're bill's".title() }}{{ 'ab cd'.capitalize() }}{{ 'aBc'.swapcase() }}{{ 'x'.center(5) }}|{{ 'x'.ljust(3) }}|{{ 'x'.rjust(3, '*') }}|{{ 'ab'.center(5, '-') }}|{{ '-5'.zfill(4) }}|{{ 'abc' | center(8) }}|
{{ 'abc'.isdigit() }}{{ '12'.isdigit() }}{{ 'a1'.isalnum() }}{{ 'ab'.isalpha() }}{{ ' '.isspace() }}{{ ''.isspace() }}{{ 'AB'.isupper() }}{{ 'ab'.islower() }}{{ 'Ab'.islower() }}{{ '日本'.isalpha() }}{{ '1'.islower() }}
{{ 'abc'.removeprefix('a') }}{{ 'abc'.removesuffix('c') }}{{ 'abc'.removeprefix('x') }}{{ '-'.join(['a', 'b']) }}{{ ', '.join(d) }}{{ ''.join([]) }}
{{ '{} {}'.format(1, 'x') }}{{ '{0}{1}{0}'.format('a', 'b') }}{{ '{a} {b!r}'.format(a=1, b='x') }}{{ '{{}}'.format() }}{{ '{:>5}|{:<5}|{:^5}|{:05d}|{:.2f}|{:,}|{:x}|{:+d}'.format(1, 2, 3, 4, 5.678, 1234567, 255, 3) }}{{ '{0.role}{0[content]}'.format(ms[0]) }}
{{ '%s %d %5d|%-5d|%05d|%.2f|%x|%X|%o|%e|%g|%r|%c|%%' % ('a', 1, 2, 3, 4, 5.678, 255, 255, 8, 12345.678, 0.0001, 'x', 'y') }}{{ '%s' % 1 }}{{ '%(a)s %(b)d' % {'a': 1, 'b': 2} }}{{ '%*d' % (5, 3) }}{{ '%+d % d' % (1, 2) }}{{ '%s' % (1,) }}{{ '%s' % [1, 2] }}{{ '%.3s|%5.1s|' % ('abcdef', 'xyz') }}
{{ '%s-%s' | format('a', 1) }}{{ '%(x)s' | format(x=1) }}{{ '%#x %#o' % (255, 8) }}{{ '%d' % 3.99 }}{{ '%i' % -3.99 }}{{ '%5s|%-5s|' % ('é', 'é') }}
{{ l | length }}{{ s | count }}{{ d | length }}{{ e | length }}{{ undefined_name | length }}{{ range(5) | length }}{{ d.items() | length }}
{{ l | first }}{{ l | last }}{{ s | first }}{{ s | last }}{{ e | first }}|{{ e | last }}|{{ d | first }}{{ d | last }}{{ undefined_name | first }}|{{ (e | first) is defined }}
{{ l | join }}{{ l | join(', ') }}{{ users | join('|', attribute='name') }}{{ [1, none, true, 1.5] | join('-') }}{{ 'abc' | join('.') }}{{ d | join(',') }}{{ undefined_name | join(',') }}
{{ l | sort }}{{ l | sort(reverse=true) }}{{ ['b', 'A', 'c'] | sort }}{{ ['b', 'A', 'c'] | sort(case_sensitive=true) }}{{ users | sort(attribute='age') | map(attribute='name') | list }}{{ users | sort(attribute='age,name') | map(attribute='name') | list }}{{ d | sort }}
{{ l | min }}{{ l | max }}{{ ['b', 'A'] | min }}{{ users | max(attribute='age') }}{{ e | max }}|{{ l | sum }}{{ users | sum(attribute='age') }}{{ [1, 2.5] | sum }}{{ l | sum(start=10) }}{{ [[1], [2]] | sum(start=[]) }}
{{ l | reverse | list }}{{ s | reverse }}{{ d | reverse | list }}{{ (1, 2) | reverse | list }}{{ l | list }}{{ 'abc' | list }}{{ d | list }}{{ range(3) | list }}{{ undefined_name | list }}
{{ [1, 2, 1, 'a', 'A', 'b'] | unique | list }}{{ ['a', 'A'] | unique(case_sensitive=true) | list }}{{ users | unique(attribute='age') | map(attribute='name') | list }}
{{ users | groupby('age') | list }}{% for g in users | groupby('age') %}{{ g.grouper }}{{ g.list | length }}{{ g[0] }} {% endfor %}{% for a, us in users | groupby('age') %}{{ a }}:{{ us | map(attribute='name') | join('+') }} {% endfor %}
{{ users | map(attribute='name') | list }}{{ users | map(attribute='zz', default='-') | list }}{{ ['a', 'b'] | map('upper') | list }}{{ ['a', 'b'] | map('replace', 'a', 'x') | list }}{{ users | map(attribute='tags.0') | list }}{{ l | map('string') | join }}
{{ l | select('odd') | list }}{{ l | reject('odd') | list }}{{ l | select('gt', 1) | list }}{{ [0, 1, '', 'a', none] | select | list }}{{ [0, 1] | reject | list }}{{ ['a', 1] | select('string') | list }}{{ l | select('in', [1, 2]) | list }}{{ l | select('divisibleby', 3) | list }}
{{ users | selectattr('age', 'eq', 30) | map(attribute='name') | list }}{{ users | rejectattr('tags') | map(attribute='name') | list }}{{ users | selectattr('tags', 'defined') | list | length }}{{ ms | selectattr('role', 'equalto', 'user') | map(attribute='content') | join('|') }}{{ ms | rejectattr('tool_calls', 'defined') | list | length }}
{{ d | dictsort }}{{ d | dictsort(true) }}{{ d | dictsort(false, 'value') }}{{ d | dictsort(reverse=true) }}{{ d | items | list }}{{ undefined_name | items | list }}
{{ [1, 2, 3, 4, 5] | batch(2) | list }}{{ [1, 2, 3] | batch(2, 'x') | list }}{{ [1, 2, 3, 4, 5] | slice(2) | list }}{{ [1, 2, 3] | slice(2, 'x') | list }}{{ [1, 2] | slice(3) | list }}{{ e | batch(2) | list }}
{{ undefined_name | default('x') }}{{ undefined_name | d }}|{{ '' | default('x') }}|{{ '' | default('x', true) }}{{ none | default('x') }}{{ none | d('x', boolean=true) }}{{ 0 | default(default_value=1) }}
{{ 3.7 | int }}{{ '42' | int }}{{ '42.9' | int }}{{ 'x' | int }}{{ 'x' | int(7) }}{{ '0x1f' | int(base=16) }}{{ 'ff' | int(0, 16) }}{{ none | int }}{{ true | int }}{{ ' 12 ' | int }}{{ '-5' | int }}{{ '1_000' | int }}{{ -3.7 | int }}{{ [] | int }}
{{ '1.5' | float }}{{ 'x' | float }}{{ 'x' | float(2.0) }}{{ 3 | float }}{{ 'inf' | float }}{{ '-inf' | float }}{{ 'nan' | float }}{{ '1e5' | float }}{{ ' 2 ' | float }}{{ none | float }}{{ '.5' | float }}{{ '5.' | float }}
{{ 2.5 | round }}{{ 3.5 | round }}{{ 2.675 | round(2) }}{{ 42.55 | round(1, 'floor') }}{{ 42.51 | round(1, 'ceil') }}{{ 5 | round }}{{ 1234.567 | round(-2) }}{{ 1.5 | round | int }}{{ 15 | round(-1) }}{{ 25 | round(-1) }}{{ -2.5 | round }}{{ 1e300 | round(2) }}
{{ -3 | abs }}{{ -2.5 | abs }}{{ true | abs }}{{ 5 | string }}{{ none | string }}{{ [1] | string }}{{ '%s' | string }}{{ 5 | string is string }}
{{ 'a\nb\n\nc' | indent }}|{{ 'a\nb' | indent(2, true) }}|{{ 'a\n\nb' | indent(2, blank=true) }}|{{ 'a\nb' | indent('> ') }}|{{ '' | indent }}|{{ 'a\n' | indent }}|
{{ 'foo bar baz qux' | truncate(9) }}|{{ 'foo bar baz qux' | truncate(9, true) }}|{{ 'foo bar baz qux' | truncate(11) }}|{{ 'foo bar baz qux' | truncate(11, false, '...', 0) }}|{{ u | truncate(6, true, '…', 0) }}|{{ 'foobarbaz' | truncate(5, leeway=0) }}
{{ '<a href="x">&\'' | e }}{{ '<' | escape | e }}{{ '<' | safe | e }}{{ ('<' | e) + '<' }}{{ '<' | forceescape }}{{ '<' | e | forceescape }}{{ ['<' | e] }}{{ 5 | e }}
{{ 'a b/ü?&=' | urlencode }}{{ {'a b': 1, 'c': 'ü/'} | urlencode }}{{ [('a', 1), ('b', 'x y')] | urlencode }}{{ 5 | urlencode }}{{ 'hello big  world_1 x-y' | wordcount }}{{ {'a': 1, 'b': none, 'c': '<"'} | xmlattr }}
{{ nested | tojson }}{{ nested | tojson(indent=2) }}{{ nested | tojson(ensure_ascii=true) }}{{ d | tojson(sort_keys=true) }}{{ d | tojson(separators=(',', ':')) }}{{ u | tojson }}{{ u | tojson(ensure_ascii=true) }}{{ [1, 'a', none, true, 1.0, 1e20, {}] | tojson }}{{ '\x00\x1f\x7f/<>' | tojson }}{{ {1: 2, none: 3, true: 4, 1.5: 5} | tojson }}{{ (1, 2) | tojson }}{{ [] | tojson(indent=2) }}{{ [[1], {'a': []}] | tojson(indent='\t') }}
{{ ms[2].tool_calls | tojson(indent=4) }}{{ ms[2].tool_calls[0].function.arguments | tojson }}{{ 5 | tojson }}{{ none | tojson }}{{ 'x' | tojson }}{{ ('inf' | float) | tojson }}{{ d.items() | list | tojson }}
{{ undefined_name is defined }}{{ n is defined }}{{ undefined_name is undefined }}{{ none is none }}{{ n is number }}{{ f is number }}{{ t is number }}{{ n is integer }}{{ t is integer }}{{ f is float }}{{ n is float }}{{ t is boolean }}{{ n is boolean }}{{ t is true }}{{ t is false }}
{{ s is string }}{{ l is string }}{{ d is mapping }}{{ l is mapping }}{{ l is iterable }}{{ d is iterable }}{{ s is iterable }}{{ n is iterable }}{{ l is sequence }}{{ d is sequence }}{{ s is sequence }}{{ range(3) is sequence }}{{ undefined_name is iterable }}{{ undefined_name is sequence }}{{ d.items() is sequence }}
{{ 3 is odd }}{{ 4 is even }}{{ 9 is divisibleby 3 }}{{ 9 is divisibleby(2) }}{{ 1 is eq 1 }}{{ 1 is equalto(2) }}{{ 1 is ne 2 }}{{ 1 is lt 2 }}{{ 1 is le 1 }}{{ 2 is gt 1 }}{{ 1 is ge 2 }}{{ 1 is greaterthan 0 }}{{ 1 is lessthan 0 }}{{ 1 is in [1] }}{{ 'a' is in 'abc' }}{{ 1 is not odd }}
{{ 'abc' is lower }}{{ 'ABC' is upper }}{{ 'Abc' is lower }}{{ 1 is sameas 1 }}{{ none is sameas none }}{{ 1 is sameas true }}{{ 'upper' is filter }}{{ 'zz' is filter }}{{ 'odd' is test }}{{ 'zz' is test }}{{ range is callable }}{{ n is callable }}{{ undefined_name is callable }}{{ s.upper is callable }}{{ ('<' | e) is escaped }}
{{ n is odd and f is float }}{{ n is not none or x }}{{ (n is odd) == true }}{{ 'x' if n is odd else 'y' }}{{ n is divisibleby 5 and true }}{{ s is string | string }}
{{ range(3) }}{{ range(1, 4) | list }}{{ range(10, 0, -3) | list }}{{ range(0) | list }}{{ range(5)[1] }}{{ range(1, 10, 2) }}{{ 3 in range(5) }}{{ range(3)[-1] }}
{{ dict(a=1, b=2) }}{{ dict([('a', 1)]) }}{{ dict({'a': 1}, b=2) }}{{ dict() }}{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.current }}{{ c.next() }}{{ c.next() }}{{ c.reset() }}{{ c.next() }}{% set j = joiner(', ') %}{{ j() }}a{{ j() }}b{{ j() }}c
{{ l.index(1) }}{{ l.count(1) }}{{ (1, 2, 1).count(1) }}{{ l.copy() }}{{ 'a' is string and 'b' not in 'abc' }}
{{ ms[1:] | length }}{{ ms[::-1][0].content }}{{ ms[-1]['role'] }}{{ (ms | first).content }}{{ ms | map(attribute='role') | unique | join(',') }}{{ ms[2].tool_calls[0].function.name }}
{% if ms[0].role == 'system' %}{% set sys = ms[0].content %}{% set rest = ms[1:] %}{% else %}{% set rest = ms %}{% endif %}{{ sys }}{{ rest | length }}
{% if n > 3 and s %}a{% elif n %}b{% else %}c{% endif %}{% if e %}x{% elif undefined_name %}y{% else %}z{% endif %}{% if not e and not undefined_name %}w{% endif %}
{% for m in ms %}{% if m.tool_calls is defined and m.tool_calls %}T{% endif %}{% if 'tool_call_id' in m %}I{% endif %}{{ m.role[0] | upper }}{% if not loop.last %},{% endif %}{% endfor %}
{%- for m in ms -%} {{ m.content }} {%- endfor -%} x {%- if t %} y {% endif -%} z
{% set ns = namespace(found=false) %}{% for m in ms[::-1] %}{% set i = (ms | length - 1) - loop.index0 %}{% if not ns.found and m.role == 'user' %}{% set ns.found = true %}{{ i }}{% endif %}{% endfor %}
{{ undefined_name.x }}
{{ undefined_name['x'] }}
{{ undefined_name() }}
{{ undefined_name + 1 }}
{{ 1 + undefined_name }}
{{ 'a' + undefined_name }}
{{ undefined_name < 1 }}
{{ -undefined_name }}
{{ d.zz.y }}
{{ d['zz'].y }}
{{ l[9].x }}
{{ none.x.y }}
{{ ms[0].zz.y }}
{{ n.foo.bar }}
{{ s.nope() }}
{{ s.nope }}|{{ l.foo }}|{{ none_.x }}
{{ d.update({'x': 1}) }}
{{ l.append(1) }}
{{ d.pop('a') }}
{{ s.__class__ }}|
{{ s.__class__.__mro__ }}
{{ raise_exception('bad role: ' ~ ms[0].role) }}
{% if ms[0].role != 'user' %}{{ raise_exception('Conversation roles must alternate') }}{% endif %}
{{ 1 / 0 }}
{{ 1 // 0 }}
{{ 1 % 0 }}
{{ 1.0 % 0 }}
{{ 'a' + 1 }}
{{ 1 + 'a' }}
{{ 'a' - 'b' }}
{{ [] + {} }}
{{ 'a' < 1 }}
{{ d < d }}
{{ 1 in 5 }}
{{ undefined_name | truncate(3) }}|{{ [1] | truncate(3) }}|{{ 'ab' | sort(attribute='zz') }}{{ [none, none] | sort }}{{ [d, d] | sort }}
{% for x in l %}a{% continue %}{% else %}b{% endfor %}{% for x in l %}a{% break %}{% else %}b{% endfor %}{% for x in l %}{% if x == 1 %}{% break %}{% endif %}{% else %}b{% endfor %}
{{ 5 | reverse }}
{% for x in l %}{{ x }}{% for y in e %}{% else %}{% if x == 1 %}{% break %}{% endif %}{% endfor %}-{% endfor %}
{{ {1: 2} | xmlattr }}
{{ 1 in 'a' }}
{{ n() }}
{{ s | nope }}
{{ s is nope }}
{{ n | length }}
{% for x in n %}{% endfor %}
{% for a, b in [(1, 2, 3)] %}{% endfor %}
{% for a, b in [1] %}{% endfor %}
{% set a, b = 1 %}
{% set n.x = 1 %}
{% set zz.x = 1 %}
{{ 'abc'[1:2:0] }}
{{ s['x':] }}
{{ n[1:] }}
{{ d[1:] }}
{{ undefined_name[1:] }}
{{ dict(undefined_name) }}
{{ 0 | map('upper') | list }}{{ none | select | list }}{{ false | selectattr('x') | list }}
{{ {'a': 1}[[1]] }}|
{{ {[1]: 2} }}
{{ range(100001) }}
{{ range(1, 2, 0) }}
{{ '%d' % 'x' }}
{{ '%s %s' % 1 }}
{{ '%s' % (1, 2) }}
{{ '%z' % 1 }}
{{ '{}'.format() }}
{{ '{a}'.format(b=1) }}
{{ '{'.format() }}
{{ [1, 'a'] | sort }}
{{ [1, 'a'] | sum }}
{{ n | items | list }}
{{ l | map | list }}
{{ l | map('nope') | list }}
{{ l | select('nope') | list }}
{{ undefined_name | tojson }}
{{ range(3) | tojson }}
{{ loop.index }}
{{ 'x'.index('y') }}
{{ l.index(9) }}
{{ 'a'.join([1]) }}
{{ 'a' | upper(1) }}
{{ cycler() }}
{% for x in l %}{{ loop(l) }}{% endfor %}
{{ caller() }}
{% macro f() %}{{ caller() }}{% endmacro %}{{ f() }}
{{ f( }}
{{ }}
{{ 1 + }}
{{ (1 }}
{{ 1) }}
{{ [1, 2 }}
{{ {'a' } }}
{{ 'abc }}
{{ a b }}
{{ a.b. }}
{{ a | }}
{{ a is }}
{{ 1 is odd is even }}
{{ a = 1 }}
{% if %}{% endif %}
{% if x %}
{% endif %}
{% else %}
{% for x %}{% endfor %}
{% for 1 in l %}{% endfor %}
{% for x in l %}
{% set %}
{% set x %}
{% set 1 = 2 %}
{% set true = 2 %}
{% macro %}{% endmacro %}
{% macro f %}{% endmacro %}
{% macro f(a=1, b) %}{% endmacro %}
{% break %}
{% nope %}
{% endfor %}
{% if x %}{% endfor %}
{% raw %}x
{# abc
{{ n }
{% if n
{{ f(a=1, 2) }}
{{ f(*a, *b) }}
{{ ! }}
{{ $ }}
{{ 1 2 }}
{% call f %}{% endcall %}
{{ "a" if }}
{{ not }}
{{ {1, 2} }}
{{ [for x in y] }}
{{ lambda x: x }}
{{ 012 }}
{{ 1__0 }}
{{ a..b }}
{{ -}}
{{- n -}} x
 {{+ n +}}
{%+ if t %} a{% endif +%}
{{ n}}}
{{ {} }}}
{{ '}}' }}{{ "%}" }}{% if '%}' %}x{% endif %}
{ { n } } {n} {%% {{'{{'}} {{ '{%' }}
"""

# Cases with line breaks: white space control, and templates that need their own variables.
WHITE_SPACE = [
    "  {% if true %}\n  keep\n  {% endif %}\n{# comment #}\nend\n",
    "a\n  {% if true %}\n  b\n  {% endif %}  \n  c",
    "a\n  {{ 1 }}\n  {{- 2 }}\n  {{ 3 -}}\n  b",
    "{% for x in [1, 2] %}\n  {{ x }}\n{% endfor %}\nend\n\n",
    "{% for x in [1, 2] -%}\n  {{ x }}\n{%- endfor %}\nend",
    "x {% if true %} y {% endif %} z\n   {% if true -%}   w   {%- endif %}   \nq",
    "{%- if true -%}\n\n  a  \n\n{%- endif -%}\n b",
    "  {%+ if true %}a{% endif %}\n  {%- if true +%}\nb{% endif %}",
    "a {#- c -#} b {# d #}\n {# e #}\n  {#+ f #} g",
    "{% raw %}\n {{ x }}\n{% endraw %}\nb",
    "  {% raw -%}\n {{ x }}\n  {%- endraw %}\n\nb",
    "  {% raw %}  {% endraw %}  x",
    "a\r\nb\rc\n{{ 'x\r\ny' }}\r\n",
    "\n\n{{ 1 }}\n\n",
    "{{ 1 }}\n",
    "{{ 1 }}\r\n",
    "{% set x = 1 %}\n{% set y = 2 %}\n{{ x }}{{ y }}",
    "\t{% set x = 1 %}\t{{ x }}\n\t{# c #}\n\t{% if x %}\n\ty\n\t{% endif %}",
    "{{ 1\n+\n2 }}\n{% set x = [\n  1,\n  2,\n] %}{{ x }}",
    "{% macro f(a) -%}\n  {{ a }}\n{%- endmacro %}\n[{{ f(1) }}]",
    "{% macro f(a) %}\n  {{ a }}\n{% endmacro %}\n[{{ f(1) }}]",
    "{% set x %}\n  a\n{% endset %}\n[{{ x }}]",
    "{% for m in [1] %}{% if m %}\n\n{% endif %}{% endfor %}x",
    "\u00a0\u2003{%- if true %}\u3000x{% endif %}",
    "a {% if true %}\n{% endif %}\n  {% if true %}   \n{% endif %}b",
    "{{ 'a' -}}   \n\n   {{- 'b' }}",
    "<{{ '\n' }}>{{ '''a''' }}",
]

SCALARS = [
    ("{{ x }}{{ [x] }}", value) for value in
    [0, -1, 2**63 - 1, -2**63, 0.0, -0.0, 1.0, 1.5, 1e15, 1e16, 123456789012345678.0, 1e-4, 1e-5,
     1e100, 3.14159, 100.0, 0.1, "", "a", "it's", 'q"', 'both"\'', "a\\b", "\n\t\r", "\x01\x7f",
     "\u00e9\u00a0\u200b\u2028\U0001f642\ue000", True, False, None, [], {}, [[]], {"a": None}]
]


def main():
    env = environment()
    cases = []
    lines = CASES.strip("\n").split("\n")
    templates = []
    for line in lines:  # a template may span lines: it goes on until its filter block is closed
        if templates and templates[-1].count("{% filter") > templates[-1].count("{% endfilter"):
            templates[-1] += "\n" + line
        else:
            templates.append(line)
    for template in templates:
        cases.append({"template": template, **render(env, template, DATA)})
    for template in WHITE_SPACE:
        cases.append({"template": template, **render(env, template, {})})
    for template, value in SCALARS:
        cases.append({"template": template, "vars": {"x": value},
                      **render(env, template, {"x": value})})
    for path in sorted((HERE / "data" / "templates").glob("*.jinja")):
        for name, variables in json.loads(
                (HERE / "data" / "template_vars.json").read_text()).items():
            cases.append({"file": path.name, "vars_of": name,
                          **render(env, path.read_text(), variables)})
    out = {"data": DATA, "cases": cases}
    text = json.dumps(out, ensure_ascii=False, indent=0)
    (HERE / "data" / "jinja_cases.json").write_text(text + "\n")
    print(len(cases), "cases,", sum("text" in c for c in cases), "with text")


if __name__ == "__main__":
    main()
