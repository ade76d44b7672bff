-- Items that are a program's as soon as it has them: which program, until it has said that it has them.
CREATE TABLE queue_hand (
    client TEXT NOT NULL,
    ticket TEXT NOT NULL,                 -- of the get that they answer, chosen by the client
    part INTEGER NOT NULL,
    seqs TEXT NOT NULL,                   -- JSON
    process INTEGER NOT NULL,
    began TEXT NOT NULL,                  -- tells it from a later one of the same number
    PRIMARY KEY (client, ticket)
) WITHOUT ROWID;
