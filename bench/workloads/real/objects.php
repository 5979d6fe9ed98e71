<?php
// Arrays, objects, strings and regular expressions, as in a page that reads a database.
// With USE_ZEND_ALLOC=0 each block comes from malloc. Argument: rounds.

final class Post
{
    public array $comments = [];

    public function __construct(public int $id, public string $title, public array $tags)
    {
    }
}

function below(int $limit): int
{
    static $state = 1;
    $state = ($state * 1103515245 + 12345) & 0x7fffffff;
    return ($state >> 8) % $limit;
}

function posts(int $count): array
{
    $posts = [];
    for ($id = 0; $id < $count; $id++) {
        $tags = array_map(fn ($n) => 'tag' . below(50) . chr(97 + $n), range(0, below(4)));
        $post = new Post($id, 'About ' . str_repeat('very ', below(4)) . below(3000), $tags);
        for ($n = below(5); $n > 0; $n--) {
            $post->comments[] = ['by' => 'user' . below(900), 'text' => str_repeat('so it is ', $n)];
        }
        $posts[] = $post;
    }
    return $posts;
}

function render(Post $post): string
{
    $comments = '';
    foreach ($post->comments as ['by' => $by, 'text' => $text]) {
        $comments .= sprintf("<li><b>%s</b> %s</li>\n", htmlspecialchars($by), ucfirst(trim($text)));
    }
    $title = preg_replace_callback('/\d+/', fn ($m) => number_format((int) $m[0]), $post->title);
    return "<h1>$title</h1><p>" . implode(', ', $post->tags) . "</p><ul>$comments</ul>";
}

$sum = 0;
for ($round = 0; $round < (int) $argv[1]; $round++) {
    $posts = posts(6000);
    $by = [];
    foreach ($posts as $post) {
        foreach ($post->tags as $tag) {
            $by[$tag][] = $post;
        }
        $sum += strlen(render($post));
    }
    ksort($by);
    usort($posts, fn ($a, $b) => [$a->title, $a->id] <=> [$b->title, $b->id]);
    $text = serialize(array_slice($posts, 0, 3000));
    $sum += strlen($text) + count(unserialize($text)) + count($by);
    $sum += count(json_decode(json_encode($posts), true));
}
echo "php seed=1 checksum=$sum\n";
