"""The mini world: scenes whose every fact is known, their exact renders, an analyser of pixels.

The world knows nothing about networks: it speaks numpy only. `scene` says what is there, `render` and `style` draw it,
`language` words it, `edits` and `cases` make tasks of it, `analyse` reads pixels back without ever seeing a scene.
"""
