"""xDSL's parser, for strings in any language.

xDSL prints what is no printable ASCII as escaped bytes, and reads a literal with such escapes as bytes. Here
every literal whose bytes are UTF-8 is a string.
"""

from __future__ import annotations

from xdsl.context import Context
from xdsl.parser import Parser, ParserState
from xdsl.utils.lexer import Input, Position, Token
from xdsl.utils.mlir_lexer import MLIRLexer, MLIRToken, MLIRTokenKind, StringLiteral


class TextParser(Parser):
    """A parser of flexc's IR; raises xDSL's ParseError for what is none."""

    def __init__(self, context: Context, text: str, name: str = "<text>") -> None:
        super().__init__(context, "", name)
        self._parser_state = ParserState(_Lexer(Input(text, name)))


class _Lexer(MLIRLexer):
    def _lex_string_literal(self, start_pos: Position) -> MLIRToken:
        token = super()._lex_string_literal(start_pos)
        if token.kind is not MLIRTokenKind.BYTES_LIT:
            return token
        try:
            StringLiteral(start_pos, self.pos, self.input).bytes_contents.decode("utf-8")
        except UnicodeDecodeError:
            return token
        return Token(MLIRTokenKind.STRING_LIT, token.span)
