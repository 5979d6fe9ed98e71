/* tree.c - binary trees built and destroyed beside one that stays.
 *
 * Usage:  tree DEPTH
 * Many blocks of one size, freed in another order than they were allocated in.
 */
#define _GNU_SOURCE
#include "bench.h"

struct node {
  struct node* left;
  struct node* right;
};

enum { SHALLOWEST = 4 };

static struct node* tree_new(size_t depth) {
  struct node* n = bench_alloc(sizeof *n);
  n->left = depth > 0 ? tree_new(depth - 1) : NULL;
  n->right = depth > 0 ? tree_new(depth - 1) : NULL;
  return n;
}

/* Counts the nodes on the way. */
static uint64_t tree_free(struct node* n) {
  if (n == NULL) return 0;
  struct node* right = n->right;
  uint64_t nodes = 1 + tree_free(n->left);
  free(n);
  return nodes + tree_free(right);
}

int main(int argc, char** argv) {
  bench_start();
  size_t deepest = bench_arg(argc, argv, 1, 14);
  if (deepest < SHALLOWEST) bench_die("the depth is less than 4");
  uint64_t sum = 0;
  struct node* lasting = tree_new(deepest);
  /* Every depth gets about as many nodes as the deepest tree has. */
  for (size_t depth = SHALLOWEST; depth <= deepest; depth += 2)
    for (size_t i = 0; i < (size_t)1 << (deepest - depth); i++)
      sum = sum * 31 + tree_free(tree_new(depth));
  sum += tree_free(lasting);
  bench_finish("tree", sum);
  return 0;
}
